"""A real browser without a screen: what a page looks like to it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from html import unescape
from pathlib import Path

from tests.services.process import find_binary

# without these it asks hosts of its maker at each start
_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)
_MEASURE = """\
<!doctype html><iframe id=f src="{page}" style="border:0;width:{width}px;height:900px"></iframe>
<pre id=said></pre><script>
f.onload = () => {{
  const page = f.contentDocument;
  const wide = [...page.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > {width} + 1);
  said.textContent = JSON.stringify([page.documentElement.scrollWidth, wide.length, page.title]);
}};
</script>
"""


class Browser:
    """Chromium; each look is a process of its own with an empty profile. Raises ServiceMissing without it."""

    def __init__(self) -> None:
        self._binary = find_binary("chromium", "chromium-browser", "google-chrome")

    def measure(self, page: Path, width: int) -> str:
        """``[width of the whole document, elements beyond the window, title]`` in a window of that width."""
        with tempfile.TemporaryDirectory(prefix="rec-browser-") as folder:
            frame = Path(folder) / "frame.html"
            frame.write_text(_MEASURE.format(page=page.resolve().as_uri(), width=width), encoding="utf-8")
            dom = subprocess.run(
                [
                    *(self._binary, *_QUIET, "--allow-file-access-from-files", "--virtual-time-budget=5000"),
                    *(f"--user-data-dir={folder}/profile", "--dump-dom", frame.as_uri()),
                ],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=True,
                timeout=150,
            ).stdout
        found = re.search(r"<pre id=\"?said\"?>(.*?)</pre>", dom, re.DOTALL)
        assert found is not None, dom
        return unescape(found[1])
