"""Which data are the same, and which samples."""

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from gan_gradflow.datamodules.identity import data_identity, draw_identity

FED = {"batch_size": 2, "num_iterations": 1, "batches_per_iteration": 1}
PLACE = "gan_gradflow.datamodules"
DATA = {
    "ring": {
        "_target_": f"{PLACE}.ring.RingDataModule",
        "num_modes": 8,
        "radius": 1.0,
        "sigma": 0.1,
        "num_train": 5,
        "num_held_out": 5,
        "event_shape": [2],
    },
    "text": {
        "_target_": f"{PLACE}.text_lines.TextLinesDataModule",
        "path": "lines.txt",
        "unit": "character",
        "vocabulary": 30,
        "held_out_share": 0.5,
        "event_shape": [1],
    },
    "folder": {
        "_target_": f"{PLACE}.image_folder.ImageFolderDataModule",
        "root": ".",
        "held_out_share": 0.5,
        "event_shape": [1, 4, 4],
    },
}


@pytest.mark.parametrize("name", DATA)
def test_a_draw_is_told_from_another_where_the_seed_decides_it(
    name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines.txt").write_text("\n".join("abcdefghijklmnopqrstuvwxyz"))
    for level in range(8):
        Image.new("L", (4, 4), level).save(tmp_path / f"{level}.png")
    configs = [DATA[name] | FED | {"seed": seed} for seed in (1, 2)]
    first, other = (instantiate(OmegaConf.create(c)).held_out for c in configs)
    assert data_identity(configs[0]) == data_identity(configs[1])
    same_draw = draw_identity(configs[0]) == draw_identity(configs[1])
    assert same_draw == first.equal(other)
