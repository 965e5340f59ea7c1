"""The page in headless Chromium: it shows at two widths, prints to A4, and asks no network for anything."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from pypdf import PdfReader

from ingestor.statement import page
from tests.integration.statement.story import figures

pytestmark = pytest.mark.slow

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
A4_POINTS = (595, 842)
BROWSERS_OWN = "not an origin"

needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here (Debian: apt-get install chromium)"
)


@pytest.fixture
def statement(tmp_path: Path) -> Path:
    path = tmp_path / "statement.html"
    path.write_text(page(figures()))
    return path


def chromium(statement: Path, *arguments: str) -> tuple[str, list[str]]:
    """Opens the page; returns what it logged, and the addresses that the page requested.

    What the browser wants for itself is not found: no name is looked up.
    """
    assert BROWSER is not None
    netlog = statement.parent / "net.json"
    profile = statement.parent / "profile"
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--enable-logging=stderr",
        f"--user-data-dir={profile}",
        f"--log-net-log={netlog}",
        *arguments,
        statement.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    events = json.loads(netlog.read_text())["events"]
    details = [each["params"] for each in events if "initiator" in each.get("params", {})]
    return done.stderr, [each["url"] for each in details if each["initiator"] != BROWSERS_OWN]


@needs_browser
@pytest.mark.parametrize("width", [1200, 400])
def test_it_shows_at_a_wide_and_a_narrow_window(statement: Path, width: int) -> None:
    screenshot = statement.parent / "page.png"

    log, requested = chromium(statement, f"--screenshot={screenshot}", f"--window-size={width},1400")

    assert "CONSOLE" not in log, "an error of the page"
    assert requested == []
    with Image.open(screenshot) as shown:
        assert shown.width == width
        assert len(shown.convert("RGB").getcolors(1 << 24) or ()) > 50, "it is not blank"


@needs_browser
def test_a_request_of_a_page_would_have_been_seen(statement: Path) -> None:
    image = "http://127.0.0.1:9/image.png"
    statement.write_text(f'<img src="{image}">')

    assert image in chromium(statement, f"--screenshot={statement.parent / 'page.png'}")[1]


@needs_browser
def test_its_print_has_the_figures_on_a4(statement: Path) -> None:
    pdf = statement.parent / "statement.pdf"

    chromium(statement, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")

    pages = PdfReader(pdf).pages
    text = "\n".join(each.extract_text() for each in pages)
    assert {tuple(round(float(side)) for side in each.mediabox[2:]) for each in pages} == {A4_POINTS}
    for figure in ("567.123456789012345678", "12.50000000", "BTCUSDT", "ab" * 32, "Europe/Rome"):
        assert figure in text.replace("\n", ""), figure
