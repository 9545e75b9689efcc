"""Image networks: their weights, and the last feature map of those that are installed."""

import importlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from s2s.data.features.backbones.base import load_weights, read_weights
from s2s.data.features.backbones.open import open_backbone
from s2s.errors import DataError, UsageError


def why_not(library: str) -> str | None:
    """The reason why a library cannot be used here: not installed, or built for another torch."""
    try:
        importlib.import_module(library)
    except Exception as error:
        return f"{library}: {str(error).partition(chr(10))[0]}"
    return None


WITHOUT_TORCHVISION, WITHOUT_TIMM = why_not("torchvision"), why_not("timm")
torchvision_only = pytest.mark.skipif(
    WITHOUT_TORCHVISION is not None, reason=str(WITHOUT_TORCHVISION)
)
timm_only = pytest.mark.skipif(WITHOUT_TIMM is not None, reason=str(WITHOUT_TIMM))


class Trap:
    """A class whose unpickling would be noticed."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("trapped",)


def network() -> nn.Module:
    return nn.ModuleDict(
        {"body": nn.Conv2d(3, 5, 2), "norm": nn.BatchNorm2d(5), "fc": nn.Linear(5, 7)}
    )


def test_weights_in_every_wrapping(tmp_path: Path) -> None:
    wanted = network().state_dict()
    save_file(wanted, tmp_path / "x.safetensors")
    torch.save(wanted, tmp_path / "x.pth")
    torch.save({"epoch": 3, "state_dict": wanted}, tmp_path / "y.pth")
    torch.save({"model": {f"module.{n}": t for n, t in wanted.items()}}, tmp_path / "z.tar")
    for path in sorted(tmp_path.iterdir()):
        found = read_weights(path)
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
        filled = network()
        load_weights(filled, found, (), "x")
        assert all(torch.equal(tensor, wanted[n]) for n, tensor in filled.state_dict().items())


def test_files_that_are_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Trap()}, "trap.pth")
    torch.save([1, 2], "list.pth")
    torch.save({"epoch": 3}, "number.pth")
    torch.save(network().state_dict(), "cut.pth")
    Path("cut.pth").write_bytes(Path("cut.pth").read_bytes()[:500])
    Path("x.safetensors").write_bytes(b"\0" * 20)
    for name, expected in (
        ("trap.pth", "expected a .safetensors file or a state dict saved by torch ("),
        ("list.pth", "expected a state dict, names and their tensors"),
        ("number.pth", "expected a state dict, names and their tensors"),
        ("cut.pth", "expected a .safetensors file or a state dict saved by torch ("),
        ("x.safetensors", "not a safetensors file ("),
        ("no.pth", "no such file"),
        ("no.safetensors", "no such file"),
    ):
        with pytest.raises(DataError) as caught:
            read_weights(Path(name))
        assert str(caught.value).startswith(f"{name}: {expected}")
        assert "\n" not in str(caught.value)
    assert not Path("trapped").exists()


def test_weights_of_another_network() -> None:
    whole = network().state_dict()
    other_head = {**whole, "fc.weight": torch.ones(2, 2), "fc.more": torch.ones(1)}
    filled = network()
    load_weights(filled, other_head, ("fc.",), "x")
    assert torch.equal(filled.get_parameter("body.weight"), whole["body.weight"])
    older = {n: t for n, t in whole.items() if not n.endswith("num_batches_tracked")}
    load_weights(network(), older, (), "x")
    without = {n: t for n, t in whole.items() if n != "body.bias"}
    for given, expected in (
        (without, "not the weights of this network; 1 of 7 tensors are missing, first 'body.bias'"),
        ({**whole, "x": torch.ones(1)}, "not the weights of this network, which has no 'x'"),
        ({**whole, "body.bias": torch.ones(6)}, "'body.bias' is [6], the network's is [5]"),
    ):
        with pytest.raises(DataError) as caught:
            load_weights(network(), given, ("fc.",), "x.pth")
        assert str(caught.value) == f"x.pth: {expected}"


BOTH = ("resnet18", "timm/resnet18")


def images(size: int = 64) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def save_random(module: nn.Module, path: Path) -> None:
    """Random weights and statistics, so that no layer is the identity by accident."""
    generator = torch.Generator().manual_seed(2)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(generator=generator)
    torch.save(module.state_dict(), path)


@torchvision_only
@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("densenet121", "classifier"),
        ("googlenet", "fc"),
        ("mobilenet_v2", "classifier"),
        ("resnet18", "fc"),
        ("shufflenet_v2_x0_5", "fc"),
        ("swin_t", "head"),
    ],
)
def test_the_mean_of_the_regions_is_what_torchvision_classifies(
    name: str, head: str, tmp_path: Path
) -> None:
    from torchvision import models

    options = {"init_weights": False} if name == "googlenet" else {}
    save_random(models.get_model(name, weights=None, **options), tmp_path / "x.pth")
    backbone = open_backbone(name, tmp_path / "x.pth")
    pooled: list[Tensor] = []
    backbone.network.get_submodule(head).register_forward_pre_hook(
        lambda module, inputs: pooled.append(inputs[0])
    )
    grids_BRD = backbone.grids(images())
    assert grids_BRD.shape[:2] == (2, 4)
    torch.testing.assert_close(grids_BRD.mean(1), pooled[0], rtol=1e-4, atol=1e-5)


@torchvision_only
def test_regions_are_row_by_row(tmp_path: Path) -> None:
    """A change in the top right corner only affects the ends of the first rows."""
    from torchvision import models

    save_random(models.squeezenet1_1(), tmp_path / "x.pth")
    backbone = open_backbone("squeezenet1_1", tmp_path / "x.pth")
    before = backbone.grids(images(512))
    changed = images(512)
    changed[:, :, :16, -16:] = 9
    moved = (backbone.grids(changed) - before).abs().sum((0, 2)).view(31, 31)
    assert moved[:2, -2:].min() > 0
    assert moved[16:].max() == moved[:, :15].max() == 0


@torchvision_only
def test_every_network_of_torchvision_has_a_last_map() -> None:
    from torchvision import models

    from s2s.data.features.backbones.torchvision import LAST

    names = models.list_models(module=models)
    assert [name for name in names if not name.startswith(tuple(LAST))] == []


@torchvision_only
def test_tokens_of_torchvision_are_without_the_class(tmp_path: Path) -> None:
    from torchvision import models

    small = models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=1, num_heads=2, hidden_dim=6, mlp_dim=4
    )
    from s2s.data.features.backbones.torchvision import _LastMap

    grids_BRD = _LastMap(small.eval(), "encoder", "vit")(images(32))
    assert grids_BRD.shape == (2, 16, 6)


@torchvision_only
def test_weights_where_torchvision_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import models

    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    name = "shufflenet_v2_x0_5"
    with pytest.raises(UsageError, match=rf"--backbone {name}: no weights here; expected --weigh"):
        open_backbone(name, None)
    own = tmp_path / "checkpoints" / Path(models.get_model_weights(name).DEFAULT.url).name
    own.parent.mkdir()
    save_random(models.get_model(name, weights=None), own)
    assert open_backbone(name, None).origin == str(own)


@torchvision_only
def test_pictures_are_prepared_as_the_weights_were_trained() -> None:
    """Both files of resnet50 have their own transforms, found by the name of the file."""
    from torchvision import models

    from s2s.data.features.backbones.torchvision import find_weights

    entries = list(models.get_model_weights("resnet50"))
    for entry in entries:
        path = Path("somewhere", Path(entry.url).name)
        assert find_weights("resnet50", entries, path) == (entry, path)
    found, _ = find_weights("resnet50", entries, Path("mine.pth"))
    assert found == models.get_model_weights("resnet50").DEFAULT


@torchvision_only
def test_networks_that_torchvision_does_not_have() -> None:
    with pytest.raises(UsageError) as caught:
        open_backbone("resnet19", None)
    assert str(caught.value).startswith(
        "--backbone resnet19: no network of torchvision (did you mean 'resnet1"
    )


@timm_only
@pytest.mark.parametrize(
    ("name", "size", "regions"),
    [
        ("resnet18", 64, 4),
        ("swin_tiny_patch4_window7_224", 224, 49),
        ("vit_tiny_patch16_224", 224, 196),
    ],
)
def test_the_mean_of_the_regions_is_what_timm_classifies(
    name: str, size: int, regions: int, tmp_path: Path
) -> None:
    """Feature maps with channels first or last, and tokens, in timm's own pooling."""
    import timm

    save_random(timm.create_model(name), tmp_path / "x.pth")
    backbone = open_backbone(f"timm/{name}", tmp_path / "x.pth")
    grids_BRD = backbone.grids(images(size))
    assert grids_BRD.shape[:2] == (2, regions)
    if not name.startswith("vit"):
        pooled = timm.create_model(name, num_classes=0).eval()
        pooled.load_state_dict(backbone.network.state_dict())
        with torch.no_grad():
            wanted = pooled(images(size))
    else:
        with torch.no_grad():
            wanted = backbone.network.forward_features(images(size))[:, 1:].mean(1)
    torch.testing.assert_close(grids_BRD.mean(1), wanted, rtol=1e-4, atol=1e-5)


@torchvision_only
@timm_only
def test_both_libraries_make_the_same_of_the_same_weights(tmp_path: Path) -> None:
    from torchvision import models

    save_random(models.resnet18(), tmp_path / "x.pth")
    grids = [open_backbone(name, tmp_path / "x.pth").grids(images()) for name in BOTH]
    torch.testing.assert_close(grids[0], grids[1], rtol=1e-4, atol=1e-5)


@timm_only
def test_weights_where_the_hub_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    with pytest.raises(UsageError) as caught:
        open_backbone("timm/resnet18.nothing", None)
    assert str(caught.value).startswith("--backbone timm/resnet18.nothing: ")
    with pytest.raises(UsageError, match=r"no network of timm \(did you mean 'timm/resnet1"):
        open_backbone("timm/resnet1", None)
    found: list[tuple[str, str]] = []

    def cached(hub: str, file: str, revision: str | None) -> str | None:
        found.append((hub, file))
        return str(tmp_path / "x.bin") if file == "pytorch_model.bin" else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    save_random(timm.create_model("resnet18"), tmp_path / "x.bin")
    assert open_backbone("timm/resnet18", None).origin == str(tmp_path / "x.bin")
    assert [file for _, file in found] == ["model.safetensors", "pytorch_model.bin"]
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    with pytest.raises(UsageError, match=r"no weights here; expected --weights FILE, or timm/res"):
        open_backbone("timm/resnet18", None)


@timm_only
def test_networks_without_one_last_map(tmp_path: Path) -> None:
    import timm

    save_random(timm.create_model("coat_tiny"), tmp_path / "x.pth")
    backbone = open_backbone("timm/coat_tiny", tmp_path / "x.pth")
    with pytest.raises(UsageError, match="--backbone timm/coat_tiny: has no single last feature"):
        backbone.grids(images(224))
