"""A gRPC server, of either kind, whose relay asks itself; messages are bytes."""

import asyncio
import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

channels = {}


def echo(request, context):
    return request


def fail(request, context):
    raise LookupError("nothing")


def count(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def relay(request, context):
    future = channels["own"].unary_unary("/shop.Orders/Echo").future(request)
    answers = channels["own"].unary_stream("/shop.Orders/Count")(b"2")
    return future.result() + b"".join(answers)


async def echo_soon(request, context):
    await asyncio.sleep(0)
    return request


async def fail_soon(request, context):
    raise LookupError("nothing")


async def count_soon(request, context):
    for number in range(int(request)):
        yield b"%d" % number


async def relay_soon(request, context):
    call = channels["own"].unary_unary("/shop.Orders/Echo")(request)
    answers = [each async for each in channels["own"].unary_stream("/shop.Orders/Count")(b"2")]
    return await call + b"".join(answers)


def handler(one, some, whole, fails):
    return grpc.method_handlers_generic_handler(
        "shop.Orders",
        {
            "Echo": grpc.unary_unary_rpc_method_handler(one),
            "Count": grpc.unary_stream_rpc_method_handler(some),
            "Relay": grpc.unary_unary_rpc_method_handler(whole),
            "Fail": grpc.unary_unary_rpc_method_handler(fails),
        },
    )


def threads():
    server = grpc.server(ThreadPoolExecutor(8), handlers=(handler(echo, count, relay, fail),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    channels["own"] = grpc.insecure_channel(f"localhost:{port}")
    print(f"http://127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


async def loop():
    server = grpc.aio.server(handlers=(handler(echo_soon, count_soon, relay_soon, fail_soon),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channels["own"] = grpc.aio.insecure_channel(f"localhost:{port}")
    print(f"http://127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    logging.basicConfig()
    threads() if sys.argv[1] == "threads" else asyncio.run(loop())
