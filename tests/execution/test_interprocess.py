"""Messages of workers, whatever becomes of the workers."""

import multiprocessing
import os
from multiprocessing.connection import Client

from competition.execution.interprocess import carried


def send(put, name, count):
    for number in range(count):
        put(name, {"epoch": number})


def test_every_message_of_several_processes_arrives_in_the_order_of_each():
    context, told = multiprocessing.get_context("fork"), []
    with carried(lambda name, logs: told.append((name, logs["epoch"]))) as put:
        processes = [context.Process(target=send, args=(put, name, 50)) for name in "abc"]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
    assert all([epoch for name, epoch in told if name == wanted] == list(range(50)) for wanted in "abc")


def test_neither_strangers_nor_the_dead_nor_a_closed_output_stop_the_messages():
    told = []

    def tell(name, logs):
        told.append(name)
        if name == "first":
            raise BrokenPipeError

    with carried(tell) as put:
        put("first", {})
        try:
            Client(put.address, authkey=os.urandom(32))
        except multiprocessing.AuthenticationError:
            told.append("refused")
        Client(put.address, authkey=put.key).close()  # as a worker that is killed before it sends
        put("last", {})
    assert told == ["first", "refused", "last"]
