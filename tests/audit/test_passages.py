"""What fakes go through outside of torch does not hide them, if it is named."""

import torch
from torch import nn

from gan_gradflow.audit import audit


class Simulator(nn.Module):
    """Something of each sample, computed where torch does not see it."""

    def forward(self, samples):
        rows = [[sum(row), max(row)] for row in samples.detach().tolist()]
        return torch.tensor(rows)


def codes(*, named: bool) -> list[str]:
    torch.manual_seed(0)
    generator, discriminator = nn.Linear(2, 3), nn.Linear(2, 1)
    simulator, loss = Simulator(), nn.BCEWithLogitsLoss()
    for_generator = torch.optim.SGD(generator.parameters(), 0.01)
    for_discriminator = torch.optim.SGD(discriminator.parameters(), 0.01)

    def discriminator_step(reals):
        for_discriminator.zero_grad()
        fakes = simulator(generator(torch.randn(8, 2)))
        ones, zeros = torch.ones(8, 1), torch.zeros(8, 1)
        total = loss(discriminator(reals), ones) + loss(discriminator(fakes), zeros)
        total.backward()
        for_discriminator.step()
        return total.item()

    def generator_step(reals):
        for_generator.zero_grad()
        samples = generator(torch.randn(8, 2))
        with torch.no_grad():
            noise = torch.randn_like(samples)
            scores = discriminator(simulator(samples + noise))
        (-scores * noise * samples).mean().backward()
        for_generator.step()

    report = audit(
        generator,
        discriminator,
        discriminator_step,
        generator_step,
        [for_generator, for_discriminator],
        batches=[torch.randn(8, 2) for _ in range(3)],
        passages=[simulator] if named else [],
    )
    return report.codes()


def test_a_simulator_that_is_named_passes_fakes_on() -> None:
    assert "no-fakes" in codes(named=False)
    assert "no-fakes" not in codes(named=True)
