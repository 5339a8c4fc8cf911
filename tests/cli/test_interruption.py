import signal
import threading

import pytest

from bottomup.cli.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert not interruption.came
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert interruption.came
    assert signal.getsignal(number) == before


def test_a_held_back_block_is_finished_first():
    done = []

    def work() -> None:
        with interruption.held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("block")

    with Interruption() as interruption:
        with pytest.raises(KeyboardInterrupt):
            work()
        with interruption.held_back():
            done.append("no new signal, no interruption")
    assert len(done) == 2


def test_a_signal_in_the_last_block_can_be_ignored():
    with Interruption() as interruption:
        with interruption.held_back(ignore=True):
            signal.raise_signal(signal.SIGINT)
        assert interruption.came


def test_another_thread_leaves_the_handlers_alone():
    handlers = []

    def work() -> None:
        with Interruption():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
