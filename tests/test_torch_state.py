"""Torch's number of threads is put back in every thread of Python."""

import threading

import pytest
import torch

from modal_balance._utils.torch_state import threads


def test_threads_are_put_back_in_threads_that_overlap():
    before = torch.get_num_threads()
    both_inside, found = threading.Barrier(2), []

    def work():
        with threads(before + 2):
            both_inside.wait(timeout=20)
            found.append(torch.get_num_threads())
        both_inside.wait(timeout=20)
        found.append(torch.get_num_threads())

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [before + 2] * 2 + [before] * 2
    assert torch.get_num_threads() == before


def test_threads_are_put_back_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="inside"), threads(before + 1):
        raise RuntimeError("inside")
    assert torch.get_num_threads() == before
