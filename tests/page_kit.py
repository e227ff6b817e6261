"""Open a page in a real browser: it fits, complains of nothing and is accessible by axe-core's rules."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PROBE = """<script>{axe}</script><script>
axe.run().then(found => {{
  const wide = document.documentElement.scrollWidth > innerWidth;
  const bad = found.violations.map(v => [v.id, v.nodes[0].html.slice(0, 200)]);
  document.title = 'seen:' + JSON.stringify({{wide, bad}});
}});
</script></body>"""


def look_at(page: Path, tmp_path: Path, width: int = 1280, dark: bool = False) -> None:
    """Fail where ``page`` scrolls sideways at ``width`` pixels, logs an error or breaks a rule."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium here")
    package = importlib.util.find_spec("axe_core_python")
    if package is None or package.origin is None:
        pytest.skip("needs axe-core-python")
    axe = Path(package.origin).with_name("axe.min.js").read_text(encoding="utf-8")
    probed = tmp_path / f"{page.stem}_probed.html"
    text = page.read_text(encoding="utf-8")
    assert text.count("</body>") == 1
    probed.write_text(
        text.replace("</body>", PROBE.format(axe=axe.replace("</script", r"<\/script"))),
        encoding="utf-8",
    )
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    seen = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         "--virtual-time-budget=60000", f"--window-size={width},900", *scheme,
         "--dump-dom", f"file://{probed}"],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in seen.stderr
    title = re.search(r"<title>seen:(.*?)</title>", seen.stdout)
    assert title is not None, "the browser did not finish"
    assert json.loads(title[1]) == {"wide": False, "bad": []}
