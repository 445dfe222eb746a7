"""A Django project with everything that the tests ask for."""
