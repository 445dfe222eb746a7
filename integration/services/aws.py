"""What answers as AWS does: emulators, moto and ministack. A test against them says nothing of AWS itself."""

from __future__ import annotations

from integration.services import Service, packaged


class Moto(Service):
    """moto's server: S3, DynamoDB, SQS, SNS, KMS and many more."""

    def command(self) -> list[str]:
        return [packaged("moto_server"), "-H", "127.0.0.1", "-p", str(self.port)]


class Ministack(Service):
    """The same services, written by others."""

    def command(self) -> list[str]:
        return [packaged("ministack")]

    def environment(self) -> dict[str, str]:
        return {"GATEWAY_PORT": str(self.port)}
