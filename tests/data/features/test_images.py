"""From images to feature files: finding, reading, computing and writing them."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from torch import Tensor, nn

from s2s.data.features.backbones.base import Backbone
from s2s.data.features.backbones.open import open_backbone
from s2s.data.features.images import find_images, read_image
from s2s.data.features.open import open_store
from s2s.data.features.write import write_features
from s2s.errors import DataError, S2sError, UsageError
from s2s.pipeline.image_features import Extraction, extract_features
from s2s_cli.main import run as command_line

SIZE = 8
WIDTH = 5


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Seven images that can be read, and two that cannot."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    random = np.random.default_rng(1)
    names = ("b.png", "a.PNG", "below/e.png", "below/d.bmp", "c.png", "f.png", "below/g.png")
    for name in names:
        pixels = random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    whole = (folder / "b.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "below" / "nothing.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    return folder


IDS = ["a.PNG", "b.png", "d.bmp", "e.png", "g.png", "c.png", "f.png"]
"""The readable ones, in the order of their paths."""


def prepare(image: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return (pixels.float() / 255)[:, :SIZE, :SIZE]


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Conv2d(3, WIDTH, kernel_size=3, stride=3, padding=1).eval()


def backbone(factor: float = 1.0) -> Backbone:
    net = network()
    return Backbone(
        name="small",
        origin="a test",
        prepare=prepare,
        last_map=lambda images: factor * net(images).flatten(2).transpose(1, 2),
        network=net,
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Replaces the networks of the libraries by a small one."""

    def install(factor: float = 1.0) -> None:
        monkeypatch.setattr(
            "s2s.pipeline.image_features.open_backbone", lambda name, weights: backbone(factor)
        )

    install()
    return install


def expected(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The features of each image alone, in float32."""
    paths = {image.id: image.path for image in find_images([str(folder)], "name")}
    with torch.no_grad():
        maps = {id_: network()(prepare(read_image(paths[id_]))[None])[0] for id_ in IDS}
    return {id_: map_.flatten(1).T.numpy() for id_, map_ in maps.items()}


def extract(folder: Path, output: Path, **options: Any) -> list[str]:
    """The lines about images that were skipped."""
    skipped: list[str] = []
    images = find_images([str(folder)], "name")
    extract_features(
        images, ("small", None), output, Extraction(**options), device="cpu", skipped=skipped.append
    )
    return skipped


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
@pytest.mark.parametrize("is_grid", [True, False])
@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_features_are_what_the_network_gives(
    pictures: Path, suffix: str, is_grid: bool, precision: str
) -> None:
    output = pictures / f"x{suffix}"
    skipped = extract(pictures, output, is_grid=is_grid, precision=precision)
    assert [line.replace(f"{pictures}/", "") for line in skipped] == [
        "below/nothing.jpg: not a readable image (cannot identify image file); skipped",
        skipped[1].replace(f"{pictures}/", ""),
    ]
    assert skipped[1].startswith(f"{pictures}/cut.png: not a readable image (")
    store = open_store(output)
    assert sorted(store.ids) == sorted(IDS)
    assert store.dtype == precision
    for id_, grid in expected(pictures).items():
        found = store.gather(store.rows_of([id_])).values_BRD[0]
        features = grid if is_grid else grid.mean(0, keepdims=True)
        assert found.shape == features.shape
        tolerance = 1e-6 if precision == "float32" else 1e-3
        np.testing.assert_allclose(found, features, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("small")
def test_features_of_an_image_do_not_depend_on_the_others(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, for any order, batch and number of workers."""
    images = [image for image in find_images([str(pictures)], "name") if image.id in IDS]
    output = pictures / "x.npy"
    found = []
    for chosen, readers in ((images, 1), (images[::-1], 3), (images[2:], 2), (images[4:5], 1)):
        extraction = Extraction(is_grid=True, precision="float32", readers=readers)
        extract_features(chosen, ("small", None), output, extraction, skipped=pytest.fail)
        assert output.with_suffix(".ids").read_text().split() == [i.id for i in chosen]
        found.append(dict(zip([i.id for i in chosen], np.load(output), strict=True)))
    for other in found[1:]:
        for id_, grid in other.items():
            np.testing.assert_array_equal(grid, found[0][id_])


@pytest.mark.usefixtures("small")
def test_the_array_is_as_numpy_writes_it(pictures: Path) -> None:
    extract(pictures, pictures / "x.npy", is_grid=True)
    array = np.load(pictures / "x.npy")
    buffer = io.BytesIO()
    np.save(buffer, array)
    assert buffer.getvalue() == (pictures / "x.npy").read_bytes()
    assert array.shape == (len(IDS), 9, WIDTH)


@pytest.mark.usefixtures("small")
def test_tensors_are_as_safetensors_reads_them(pictures: Path) -> None:
    extract(pictures, pictures / "x.safetensors", is_grid=True)
    extract(pictures, pictures / "x.npy", is_grid=True)
    content = load_file(pictures / "x.safetensors")
    for id_, grid in zip(IDS, np.load(pictures / "x.npy"), strict=True):
        np.testing.assert_array_equal(content[id_], grid)


def test_all_batches_have_one_shape(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    inner = backbone()

    def last_map(images: Tensor) -> Tensor:
        shapes.append(tuple(images.shape))
        return inner.last_map(images)

    watched = Backbone(
        name="x", origin="x", prepare=prepare, last_map=last_map, network=inner.network
    )
    monkeypatch.setattr("s2s.pipeline.image_features.open_backbone", lambda name, weights: watched)
    monkeypatch.setattr("s2s.pipeline.image_features.BATCH", 3)
    extract(pictures, pictures / "x.npy")
    assert shapes == [(3, 3, SIZE, SIZE)] * 3


def test_numbers_that_do_not_fit(pictures: Path, small: Callable[[float], None]) -> None:
    """After a failure, earlier files are intact."""
    output = pictures / "x.npy"
    extract(pictures, output)
    before = output.read_bytes(), output.with_suffix(".ids").read_bytes()
    small(1e6)
    with pytest.raises(DataError, match=r"'a\.PNG' are too large for float16; use --precision"):
        extract(pictures, output)
    extract(pictures, pictures / "y.npy", precision="float32")
    small(float("nan"))
    with pytest.raises(DataError, match=r"features of 'a\.PNG' are NaN or infinite$"):
        extract(pictures, output, precision="float32")
    assert (output.read_bytes(), output.with_suffix(".ids").read_bytes()) == before
    assert not list(pictures.glob(".tmp-*"))


@pytest.mark.usefixtures("small")
def test_no_image_can_be_read(pictures: Path) -> None:
    images = find_images([str(pictures / "cut.png"), str(pictures / "notes.txt")], "name")
    skipped: list[str] = []
    with pytest.raises(S2sError, match="none of 2 images could be read; nothing was") as caught:
        extract_features(
            images, ("small", None), pictures / "x.npy", Extraction(), skipped=skipped.append
        )
    assert caught.value.exit_status == 1
    assert len(skipped) == 2
    assert not list(pictures.glob("*.npy")) and not list(pictures.glob(".tmp-*"))


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors"])
def test_files_are_whole_or_absent(name: str, tmp_path: Path) -> None:
    values = np.ones((1, 3), np.float32)
    with pytest.raises(RuntimeError, match="the user"), write_features(tmp_path / name, ["a"]) as w:
        w.append(["a"], values)
        raise RuntimeError("the user")
    with (
        pytest.raises(DataError, match="no features to write"),
        write_features(tmp_path / name, ["a"]),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_outputs_of_no_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.npz: expected a file named \.npy or \.safetensors"):
        extract_features(
            [], ("small", None), tmp_path / "x.npz", Extraction(), skipped=lambda line: None
        )


def test_names_of_images(pictures: Path) -> None:
    folder = str(pictures)
    names = [image.id for image in find_images([folder], "name")]
    assert [name for name in names if name in IDS] == IDS
    assert names == [
        *IDS[:2],
        "d.bmp",
        "e.png",
        "g.png",
        "nothing.jpg",
        *IDS[5:6],
        "cut.png",
        "f.png",
    ]
    assert [i.id for i in find_images([folder], "path")][2] == "below/d.bmp"
    assert [i.id for i in find_images([folder], "stem")][2] == "d"
    file = str(pictures / "notes.txt")
    assert [i.id for i in find_images([file, file], "path")] == [file]
    both = find_images([str(pictures / "c.png"), folder], "name")
    assert [i.id for i in both][:2] == ["c.png", "a.PNG"] and len(both) == len(names)


def test_names_that_will_not_do(pictures: Path) -> None:
    (pictures / "below" / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"its id 'b\.png' is also that of .*; --ids path tells"):
        find_images([str(pictures)], "name")
    with pytest.raises(DataError, match="its id 'b' is also that of"):
        find_images([str(pictures)], "stem")
    assert len(find_images([str(pictures)], "path")) == 10
    with pytest.raises(DataError, match="no such file or folder"):
        find_images([str(pictures / "no.png")], "name")
    (pictures / "empty").mkdir()
    with pytest.raises(UsageError, match=r"^no images; expected files, or folders with \.bmp"):
        find_images([str(pictures / "empty")], "name")
    for name in ("new\nline.png", os.fsdecode(b"\xff.png")):
        path = pictures / "empty" / name
        path.write_bytes(b"")
        with pytest.raises(DataError, match="expected a name that is one line of UTF-8") as caught:
            find_images([str(path)], "stem")
        assert str(caught.value).isascii() and "\n" not in str(caught.value)


def test_images_of_every_kind_become_red_green_blue(tmp_path: Path) -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = (250, 10, 20)
    image = Image.fromarray(pixels)
    for mode, suffix in (("RGB", "png"), ("L", "png"), ("CMYK", "tif"), ("P", "gif"), ("1", "png")):
        path = tmp_path / f"x.{suffix}"
        image.convert(mode).save(path)
        found = read_image(path)
        assert (found.mode, found.size) == ("RGB", (3, 2))
    palette = image.convert("P")
    palette.info["transparency"] = b"\x00\x80\xff"
    palette.save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png").mode == "RGB"


def test_images_are_turned_as_their_camera_was(tmp_path: Path) -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the right side of the picture is up
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    found = np.array(read_image(tmp_path / "x.png"))
    np.testing.assert_array_equal(found, np.rot90(pixels, -1))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_images_fail_in_one_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any truncated or damaged file raises OSError or ValueError, which are reported by name."""
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (9, 9, 3), dtype=np.uint8))
    random = np.random.default_rng(7)
    for suffix in ("png", "jpg", "gif", "bmp", "tif", "webp"):
        path = tmp_path / f"x.{suffix}"
        image.save(path)
        whole = path.read_bytes()
        for _ in range(40):
            damaged = bytearray(whole[: int(random.integers(1, len(whole)))])
            damaged[int(random.integers(len(damaged)))] ^= int(random.integers(1, 256))
            path.write_bytes(damaged)
            try:
                assert read_image(path).mode == "RGB"
            except (OSError, ValueError):
                continue
    image.save(tmp_path / "large.png")
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 30)
    with pytest.raises(ValueError, match="exceeds limit"):
        read_image(tmp_path / "large.png")


@pytest.mark.usefixtures("small")
def test_the_command(
    pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = str(pictures / "x.npy")
    options = ["--backbone", "small", "--device", "cpu", "-o", output]
    assert command_line(["features", str(pictures), "--grid", *options]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 3
    assert lines[-1] == (
        f"s2s: {output}: 7 of 9 images, float16 [9, 5] each, small with a test; 2 could not be read"
    )
    assert np.load(output).shape == (7, 9, 5)
    listed = f"{pictures / 'c.png'}\n{pictures / 'a.PNG'}\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(listed.encode())))
    assert command_line(["features", "-", "--ids", "stem", *options]) == 0
    assert Path(output).with_suffix(".ids").read_text() == "c\na\n"
    assert capsys.readouterr().err == (
        f"s2s: {output}: 2 of 2 images, float16 [5] each, small with a test\n"
    )
    windows = "\ufeff" + listed.replace("\n", "\r\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(windows.encode())))
    assert command_line(["features", "-", "--ids", "stem", *options]) == 0
    assert Path(output).with_suffix(".ids").read_text() == "c\na\n"
    capsys.readouterr()
    assert command_line(["features", str(pictures / "cut.png"), *options]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "s2s: error: none of 1 images could be read; nothing was written"
    )
    assert np.load(output).shape == (2, 5)
    assert command_line(["features", str(pictures / "no.png"), *options]) == 2


def test_without_the_libraries(
    pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "timm", None)
    for name, library in (("resnet18", "torchvision"), ("timm/resnet18", "timm")):
        arguments = ["features", str(pictures), "--backbone", name, "-o", str(pictures / "x.npy")]
        assert command_line(arguments) == 2
        assert capsys.readouterr().err == (
            f"s2s: error: image networks need {library}: pip install pillow timm torchvision\n"
        )


def test_a_library_that_is_built_for_another_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist\\nmore')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(UsageError) as caught:
        open_backbone("resnet18", None)
    assert str(caught.value) == (
        f"torchvision does not fit torch {torch.__version__} (operator torchvision::nms does not "
        "exist); install both from one index"
    )


def test_opening_a_store_loads_no_torch() -> None:
    """Features are read by commands that must start quickly."""
    probe = (
        "import sys, s2s.data.features.open, s2s.data.features.check; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
