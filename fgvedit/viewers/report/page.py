"""The page of a run: a folder with `index.html`, and beside it the records in scripts, the images and the plots.

`index.html` holds what every view needs: the metrics, and of each record its id and a sign for each probe, from which
filters and the router's confusion are counted. The rest is loaded when it is shown.
"""

from __future__ import annotations

import re
from pathlib import Path

from fgvedit.util.errors import FGVEditError
from fgvedit.util.files import check_out, read_json, whole_folder, write_json, write_text
from fgvedit.viewers import pages
from fgvedit.viewers.report.overview import overview
from fgvedit.viewers.report.reading import data_of, read_run
from fgvedit.viewers.report.records import write_records

HERE = Path(__file__).parent
NAME = re.compile(r"index\.html|plotly\.min\.js|(images|records)/[0-9a-f-]+\.[a-z]+")
OURS = "report.json"  # says which files a page is made of


def write_report(folder: Path, out: Path | None = None, dataset: str | None = None) -> str:
    """Write the page of the run in `folder` into `out` (default: `report` in it); what was written, in words.

    `dataset`: where the run's data are now, if not where they were. A page that is there is replaced as a whole; other
    files in its folder stay. Raises `FGVEditError`, with nothing written, for a run that cannot be read or is not
    finished, other data, and a folder `out` that holds anything but a page.
    """
    run = read_run(folder)
    out = out or folder / "report"
    check_out(out, _is_page)
    data = data_of(run, dataset)
    with whole_folder(out, _is_page, keep_others=_own) as partial:
        images = pages.Images(partial)
        written = write_records(run, data.records, images, partial)
        content = {**overview(run), "records": written.index, "layouts": written.kinds, "chunks": written.scripts}
        if content["rho"]:
            pages.write_plotly(partial)
        title = f"{run.manifest['editor']['name']} on {run.manifest['backbone']['name']}: a run of FGVEdit"
        shared = [pages.PICTURE, *(HERE / part for part in ("attention", "overview", "plots"))]
        page = pages.html(HERE / "page.html", title, content, written.scripts[:1], shared, plots=True)
        write_text(partial / "index.html", page)
        files = sorted(path.relative_to(partial).as_posix() for path in partial.rglob("*") if path.is_file())
        write_json(partial / OURS, {"format": 1, "rows_sha256": run.manifest["rows_sha256"], "files": files})
    return f"{out / 'index.html'}: {len(written.index):,} records, {len(run.rows):,} rows, {len(images.files):,} images"


def _is_page(folder: Path) -> bool:
    """Whether a folder holds a run's page. Raises `FGVEditError` where that page is damaged."""
    return (folder / OURS).is_file() and bool(_files_of(folder))


def _own(folder: Path) -> list[str]:
    """The files of a page in a folder that may be none."""
    return [OURS, *_files_of(folder)] if (folder / OURS).is_file() else []


def _files_of(folder: Path) -> list[str]:
    """The files that a page is made of, by its own word. Raises `FGVEditError` where it names any other."""
    path = folder / OURS
    said = read_json(path)
    files = said.get("files") if isinstance(said, dict) else None
    if not isinstance(files, list) or not all(isinstance(name, str) and NAME.fullmatch(name) for name in files):
        raise FGVEditError(f"'{path}' is damaged: expected the names of a page's files; use another --out")
    return files
