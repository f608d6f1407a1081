"""The page for users says what the code does."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

import gan_gradflow.audit
from gan_gradflow.audit import CATALOGUE, AuditReport
from gan_gradflow.audit.findings import catalogue_table

PAGE = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
BLOCKS = re.findall(r"```py\n(.*?)```", PAGE, flags=re.DOTALL)
SOURCES = Path(gan_gradflow.audit.__file__).parent


def users_gan() -> dict:
    generator = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
    discriminator = nn.Sequential(nn.Linear(8, 32), nn.LeakyReLU(), nn.Linear(32, 1))
    optimizer_d = torch.optim.Adam(discriminator.parameters())
    optimizer_g = torch.optim.Adam(generator.parameters())

    def discriminator_step(reals):
        optimizer_d.zero_grad()
        fakes = generator(torch.randn(len(reals), 16)).detach()
        scores = discriminator(reals), discriminator(fakes)
        loss = softplus(-scores[0]).mean() + softplus(scores[1]).mean()
        loss.backward()
        optimizer_d.step()

    def generator_step(reals):
        optimizer_g.zero_grad()
        fakes = generator(torch.randn(len(reals), 16))
        softplus(-discriminator(fakes)).mean().backward()
        optimizer_g.step()

    loader = torch.utils.data.DataLoader(torch.randn(64, 8), batch_size=32)
    return {**locals(), "torch": torch, "softplus": softplus}


def run(code: str, scope: dict) -> AuditReport:
    exec(code, scope)
    return scope["report"]


def test_the_ten_lines_run_and_a_clean_gan_passes(capsys):
    assert len(BLOCKS[0].splitlines()) <= 12
    assert run(BLOCKS[0], users_gan()).ok
    assert "No violation" in capsys.readouterr().out


def test_the_forgotten_detach_is_reported_in_the_words_of_the_page(capsys):
    scope = users_gan()
    exec(BLOCKS[1], scope)
    assert not run(BLOCKS[0], scope).ok
    shown = re.search(r"```\n(violation .*?)```", PAGE, flags=re.DOTALL)[1]
    assert " ".join(shown.split()) in " ".join(capsys.readouterr().out.split())


def test_the_table_of_findings_is_the_catalogue():
    assert PAGE.rstrip().endswith(catalogue_table())


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_finding_of_the_catalogue_is_made_somewhere(code):
    kind = re.sub("^(discriminator|generator)-in-eval", "{record.phase}-in-eval", code)
    checks = [p for p in SOURCES.glob("*.py") if p.name != "catalogue.py"]
    assert any(f'"{kind}"' in path.read_text() for path in checks)
