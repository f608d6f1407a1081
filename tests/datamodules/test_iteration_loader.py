import pytest
import torch

from gan_gradflow.datamodules.iteration_loader import IterationLoader, as_floats


def loader(**changes):
    arguments = {
        "batch_size": 4,
        "seed": 0,
        "num_iterations": 6,
        "batches_per_iteration": 1,
        "rank": 0,
        "world_size": 1,
        "device": torch.device("cpu"),
    }
    labels = torch.arange(10)
    return IterationLoader(labels.float()[:, None], labels, **(arguments | changes))


def seen(batches):
    return [batch.labels.tolist() for batch in batches]


def test_a_batch_holds_n_critic_batches_and_their_labels():
    batch = loader(batches_per_iteration=3).batch(0)
    assert batch.reals.shape == (3, 4, 1)
    assert torch.equal(batch.reals[..., 0], batch.labels.float())


def test_without_labels_a_batch_has_none():
    data = IterationLoader(
        torch.zeros(4, 1), None, batch_size=2, seed=0, num_iterations=1,
        batches_per_iteration=1, rank=0, world_size=1, device=torch.device("cpu"),
    )  # fmt: skip
    assert data.batch(0).labels is None


def test_the_loader_is_as_long_as_the_training():
    assert len(loader()) == 6
    assert len(list(loader())) == 6


def test_no_sample_comes_twice_in_an_epoch():
    epoch = torch.cat([batch.labels[0] for batch in list(loader())[:2]])
    assert len(epoch.unique()) == len(epoch) == 8


def test_every_epoch_has_another_order():
    batches = seen(loader())
    assert len({str(batches[i : i + 2]) for i in (0, 2, 4)}) == 3


def test_a_batch_depends_on_seed_and_iteration_alone():
    in_turn = seen(loader())
    assert [loader().batch(t).labels.tolist() for t in range(6)] == in_turn
    backwards = loader()
    assert seen(backwards.batch(t) for t in reversed(range(6))) == in_turn[::-1]


def test_another_seed_gives_another_order():
    assert seen(loader(seed=1)) != seen(loader(seed=0))


def test_n_critic_groups_the_same_batches():
    grouped = loader(num_iterations=2, batches_per_iteration=3)
    assert torch.cat([b.labels for b in grouped]).tolist() == [
        b.labels[0].tolist() for b in loader()
    ]


def test_processes_share_the_global_batch():
    parts = [loader(rank=rank, world_size=2).batch(5).labels for rank in (0, 1)]
    assert torch.equal(torch.cat(parts, 1), loader().batch(5).labels)


def test_loading_the_state_goes_on_where_it_was_saved():
    first = loader()
    taken = iter(first)
    before = seen(next(taken) for _ in range(4))
    second = loader()
    second.load_state_dict(first.state_dict())
    assert before + seen(second) == seen(loader())


def test_a_pass_after_the_resumed_one_starts_at_the_beginning():
    resumed = loader()
    resumed.load_state_dict({"iteration": 4})
    assert [len(list(resumed)), len(list(resumed))] == [2, 6]


def test_an_iterator_that_is_dropped_does_not_lose_the_state():
    resumed = loader()
    resumed.load_state_dict({"iteration": 4})
    iter(resumed)
    assert len(list(resumed)) == 2


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match=r"batch_size is 11.*only 10 .*batch_size=10"):
        loader(batch_size=11)


def test_a_batch_that_does_not_divide_over_the_processes_is_refused():
    with pytest.raises(ValueError, match=r"4 does not divide by 3"):
        loader(world_size=3)


def test_pixels_become_floats_from_minus_one_to_one():
    pixels = torch.tensor([[0, 255]], dtype=torch.uint8)
    assert as_floats(pixels).tolist() == [[-1.0, 1.0]]
    assert as_floats(pixels).dtype == torch.float32


def test_floats_stay_as_they_are():
    assert as_floats(torch.tensor([[-7.5]])).item() == -7.5
