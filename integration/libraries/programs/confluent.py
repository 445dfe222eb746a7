"""Programs of confluent-kafka: a function each, by the name in the first argument; the second is the broker."""

import asyncio
import contextlib
import sqlite3
import sys
import threading
import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.serialization import StringDeserializer, StringSerializer

NAME, BROKER = sys.argv[1:3]
TOPIC = f"topic-{NAME.replace('_', '-')}-{time.time_ns()}"


def work():
    """Something that is a span wherever there is a transaction."""
    connection = sqlite3.connect(":memory:")
    connection.execute("SELECT 1")
    connection.close()


def producer(kind=Producer, **more):
    return kind({"bootstrap.servers": BROKER, **more})


def consumer(kind=Consumer, start=0, **more):
    made = kind({"bootstrap.servers": BROKER, "group.id": "g", "enable.auto.commit": False, **more})
    made.assign([TopicPartition(TOPIC, 0, start)])
    return made


def sent(count=3):
    mine = [("mine", b"1"), ("password", b"secret")]
    one = producer()
    told = []
    for number in range(count):
        one.produce(
            TOPIC, f"message {number}", partition=0, headers=mine, on_delivery=lambda error, message: told.append(error)
        )
    assert one.flush(20) == 0
    assert mine == [("mine", b"1"), ("password", b"secret")], mine
    assert told == [None] * count, told


def polls(one, count):
    found = []
    while len(found) < count:
        message = one.poll(5)
        assert message is not None
        assert message.error() is None, message.error()
        found.append(message)
        work()
    return found


def poll():
    sent()
    one = consumer()
    messages = polls(one, 3)
    one.close()
    work()
    print([message.value() for message in messages])


def headers():
    """Both forms, as bytes, behind the program's own; sent by all positional arguments."""
    one, given = producer(), [("mine", b"1")]
    one.produce(TOPIC, b"v", b"k", 0, None, None, 0, given)
    one.produce(topic=TOPIC, value=b"v", partition=0, headers={"mine": "1"})
    one.flush(20)
    found = [message.headers() for message in polls(consumer(), 2)]
    if "apm_run" in sys.modules:
        for each in found:
            names = [name for name, value in each]
            assert names == ["mine", "traceparent", "tracestate", "elasticapmtraceparent"], names
            assert len(each[3][1]) == 29
            assert all(type(value) is bytes for name, value in each)
    else:
        assert found == [[("mine", b"1")]] * 2


def inside():
    """In a transaction of the program's own, where there is an agent."""
    if "apm_run" in sys.modules:
        import apm_run

        around = apm_run.start_transaction("inside")
    else:
        around = contextlib.nullcontext()
    with around:
        sent(2)
        one = consumer()
        found = [one.poll(5) for _ in range(2)]
        assert [message.value() for message in found] == [b"message 0", b"message 1"]
        assert one.poll(0) is None
    one.close()


MOCK = []


def left_open():
    """The last message is being dealt with when the program ends."""
    sent(1)
    one = consumer()
    polls(one, 1)


def uncaught():
    sent(1)
    one = consumer()
    polls(one, 1)
    raise ValueError("bad message")


def batch():
    sent(3)
    one = consumer()
    found = []
    while len(found) < 3:
        found += one.consume(10, 5)
        work()
    assert one.consume(10, 0.1) == []
    work()
    one.close()


def threads():
    """Each deals with its message; that one ends does not end the other's."""
    sent(2)
    turn = threading.Barrier(2)

    def run(number):
        one = consumer(start=number)
        polls(one, 1)
        turn.wait()
        work()
        if number:
            one.close()
        turn.wait()
        work()

    both = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()


def serializing():
    kinds = {"key.serializer": StringSerializer(), "value.serializer": StringSerializer()}
    one = producer(confluent_kafka.SerializingProducer, **kinds)
    one.produce(TOPIC, key="k", value="v", partition=0)
    assert one.flush(20) == 0
    other = consumer(confluent_kafka.DeserializingConsumer, **{"value.deserializer": StringDeserializer()})
    (message,) = polls(other, 1)
    print(message.value())
    other.close()


def types():
    one = producer()
    print(type(one) is Producer, type(one), isinstance(one, confluent_kafka.cimpl.Producer), len(one))
    print(
        Producer,
        Producer.produce.__doc__[:20],
        issubclass(confluent_kafka.SerializingProducer, Producer),
    )

    class Mine(Consumer):
        def poll(self, *args, **kwargs):
            return super().poll(*args, **kwargs)

    sent(1)
    mine = consumer(Mine)
    print(type(mine) is Mine, [message.value() for message in polls(mine, 1)])
    entered = consumer()
    with entered if hasattr(entered, "__enter__") else contextlib.closing(entered):  # older ones are no contexts
        print([message.value() for message in polls(entered, 1)])
    work()


def wrong():
    """What the library raises is what the program gets."""
    one = producer()
    for call in (
        one.produce,
        lambda: one.produce(5, b""),
        lambda: one.produce(TOPIC, b"", headers=7),
        lambda: one.produce(TOPIC, b"", headers=[("a", 5)]),
        lambda: one.produce(TOPIC, b"", nothing=1),
        lambda: one.produce(TOPIC, b"x" * 2_000_000),
        lambda: consumer().poll("x"),
        lambda: consumer().consume(-1),
        lambda: Consumer({}),
        lambda: Producer({"nothing": 1}),
        Consumer.poll,
    ):
        try:
            print(call())
        except (TypeError, ValueError, KafkaException) as error:
            print(type(error), error)
    one.purge()


def queue_full():
    one = producer(**{"bootstrap.servers": "127.0.0.1:1", "queue.buffering.max.messages": 1, "log_level": 0})
    one.produce(TOPIC, b"1")
    try:
        one.produce(TOPIC, b"2")
    except BufferError as error:
        print(error)
    one.purge()


def executor():
    """Polled in a pool's thread, which goes on with other work."""
    sent(1)

    async def run():
        loop = asyncio.get_running_loop()
        one = consumer()
        message = await loop.run_in_executor(None, one.poll, 5)
        print(message.value())
        for _ in range(3):
            await loop.run_in_executor(None, work)
        one.close()

    asyncio.run(run())


def aio():
    from confluent_kafka.aio import AIOConsumer, AIOProducer

    async def run():
        one = AIOProducer({"bootstrap.servers": BROKER}, batch_size=1)
        delivered = await one.produce(TOPIC, b"aio", partition=0)
        print((await delivered).value())
        await one.close()
        other = AIOConsumer({"bootstrap.servers": BROKER, "group.id": "g", "enable.auto.commit": False})
        await other.assign([TopicPartition(TOPIC, 0, 0)])
        message = await other.poll(5)
        print(message.value())
        work()
        await other.close()
        work()

    asyncio.run(run())


if BROKER == "mock":
    MOCK.append(producer(**{"bootstrap.servers": "localhost:1", "test.mock.num.brokers": 1, "log_level": 0}))
    (found,) = MOCK[0].list_topics(timeout=10).brokers.values()
    BROKER = f"{found.host}:{found.port}"
work()
globals()[NAME]()
