"""Public ImageNet checkpoints: fetch once, keep in the cache, check the hash each time."""

import http.client
import json
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeconv.cache import cache_dir
from edgeconv.errors import EdgeconvError
from edgeconv.files import replacing, sha256, write_text

LOG = logging.getLogger(__name__)

TIMEOUT_S = 60.0
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class PublicCheckpoint:
    """A published file and how its publisher feeds it: ``mean`` and ``std`` on the 0..1 scale."""

    url: str
    top1: float
    source: str
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop: float = 0.875
    resolution: int = 224


PUBLIC: dict[str, PublicCheckpoint] = {
    "mobilenet_v1": PublicCheckpoint(
        # a commit in the address, so that the file cannot change under it
        "https://huggingface.co/timm/mobilenetv1_100.ra4_e3600_r224_in1k/resolve/"
        "dda9ab42e23f3061aa191630817df76e8fe9cace/model.safetensors",
        75.4,
        "timm, mobilenetv1_100.ra4_e3600_r224_in1k",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
    "mobilenet_v2": PublicCheckpoint(
        "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
        71.88,
        "torchvision, IMAGENET1K_V1",
    ),
    "ghostnet": PublicCheckpoint(
        "https://github.com/huawei-noah/CV-backbones/releases/download/ghostnet_pth/ghostnet_1x.pth",
        73.98,
        "official repository",
    ),
}
"""Nets with a public checkpoint at their default options. ShuffleNetV1's authors publish none by URL."""


def published_hash(url: str) -> str | None:
    """Return the start of the SHA-256 that torchvision writes into its file names, or None.

    >>> published_hash("https://download.pytorch.org/models/mobilenet_v2-b0353104.pth")
    'b0353104'
    """
    found = re.search(r"-([0-9a-f]{8,64})\.pth$", url)
    return found.group(1) if found else None


def fetch(url: str, progress: Progress | None = None) -> Path:
    """Return the cached file of ``url``, downloading it where the cache has none.

    Its SHA-256 must begin with what its publisher writes into its name, and be the one recorded in the
    cache's hashes.json when the file was first downloaded. ``progress(done, total)`` counts bytes.
    Raises EdgeconvError where the download fails or the hash differs; nothing half-written stays.
    """
    folder = cache_dir() / "weights"
    path = folder / url.rpartition("/")[2]
    if path.name == "model.safetensors":  # every Hugging Face checkpoint is called that
        path = folder / f"{url.split('/')[4]}.safetensors"
    if path.is_file():
        _check(url, path, sha256(path), folder)
        return path
    with replacing(path) as part:
        _download(url, part, progress)
        digest = sha256(part)
        _check(url, path, digest, folder)
    if url not in _recorded(folder):
        write_text(_hash_file(folder), json.dumps(_recorded(folder) | {url: digest}, indent=1))
    return path


def _download(url: str, part: Path, progress: Progress | None) -> None:
    """Stream ``url`` into ``part``; a short answer is a failure."""
    hint = "download it elsewhere and give the file to --weights, or use --weights bundled"
    if not url.startswith(("https://", "http://")):
        raise EdgeconvError(f"{url} is not a web address")
    LOG.info("fetching %s", url)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, part.open("wb") as file:
            length = answer.headers.get("Content-Length")
            total = int(length) if length and length.isdecimal() else None
            done = 0
            while piece := answer.read(1 << 18):
                file.write(piece)
                done += len(piece)
                if progress is not None:
                    progress(done, total)
    except urllib.error.HTTPError as error:
        raise EdgeconvError(f"{url} answered {error.code} {error.reason}: {hint}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise EdgeconvError(f"cannot reach {url} ({reason}): {hint}") from error
    except http.client.HTTPException as error:
        raise EdgeconvError(f"the download of {url} broke off ({error}): {hint}") from error
    if total is not None and done != total:
        raise EdgeconvError(f"the download of {url} broke off at {done} of {total} bytes: {hint}")


def _check(url: str, path: Path, digest: str, folder: Path) -> None:
    """Raise EdgeconvError where ``digest`` is not the published and the recorded one of ``url``."""
    wanted = {
        "published starts": published_hash(url) or "",
        "recorded at its first download is": _recorded(folder).get(url, ""),
    }
    for origin, expected in wanted.items():
        if not digest.startswith(expected):
            raise EdgeconvError(
                f"{path} from {url} has SHA-256 {digest}, but the hash {origin} {expected}: "
                "delete the file and try again, or do not trust it"
            )


def _hash_file(folder: Path) -> Path:
    return folder / "hashes.json"


def _recorded(folder: Path) -> dict[str, str]:
    """Return URL -> SHA-256 as recorded so far."""
    path = _hash_file(folder)
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EdgeconvError(f"{path} cannot be read ({error}): delete it to start anew") from error
    if not isinstance(data, dict):
        raise EdgeconvError(f"{path} is not a table of hashes: delete it to start anew")
    return {str(key): str(value) for key, value in data.items()}
