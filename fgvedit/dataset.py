"""The data: as `datasets` gives it, and as records."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from fgvedit.schema import Record, features, record_from_row
from fgvedit.util.errors import FGVEditError, one_line, unknown
from fgvedit.util.revision import content_hash

if TYPE_CHECKING:
    import datasets

EMBEDDED = "fgvedit"
FOLDER = Path(__file__).parent  # a data folder too: its README.md is the data card
BUILT = {"vqav2": "python -m builders.released"}  # configurations that are not shipped, and what makes them
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def load_dataset(path: str, name: str | None = None, *args: Any, **kwargs: Any) -> Any:
    """`datasets.load_dataset`, with the same signature, to which "fgvedit" is the embedded data wherever it is called.

    What it returns is what `datasets` returns: a `DatasetDict` of `train` and `test`, or one split as a `Dataset`.
    Raises `FGVEditError` for an embedded configuration that has to be built first.
    """
    import datasets

    if path == EMBEDDED:
        _expect_built(name)
    return datasets.load_dataset(str(FOLDER) if path == EMBEDDED else path, name, *args, **kwargs)


class Rows(Sequence[Record]):
    """The rows of a table as records, each made, and its images read, only when it is asked for."""

    def __init__(self, table: datasets.Dataset) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return Rows(self.table.select(range(*index.indices(len(self)))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return record_from_row(self.table[index], index % len(self))


@dataclass(frozen=True)
class Loaded:
    """Records and where they are from. `revision`: the hub's commit, or a hash over the files that were read."""

    records: Sequence[Record]
    name: str
    config: str
    split: str
    revision: str

    @property
    def image_ids(self) -> list[str]:
        """Each record's, without reading an image."""
        if isinstance(self.records, Rows):
            return list(self.records.table["image_id"])
        return [record.image.image_id for record in self.records]

    def pick(self, places: Sequence[int]) -> Loaded:
        """The records at these places alone, in this order."""
        if isinstance(self.records, Rows):
            return replace(self, records=Rows(self.records.table.select(places)))
        return replace(self, records=[self.records[place] for place in places])


def load_records(name: str, split: str = "test", limit: int | None = None) -> Loaded:
    """The first `limit` records, or all, of one split of a data set.

    `name`: a configuration of the embedded data (`scenes`), a folder of Parquet files, or a data set's id on the
    Hugging Face hub (`owner/name`). A folder or hub data set of several configurations is read in its default one.

    Raises `FGVEditError` for a data set or split that is not there or is empty, a missing column, a file that is not
    Parquet, and a limit below 1. A fault in one record is raised when that record is asked for.
    """
    if limit is not None and limit < 1:
        raise FGVEditError(f"limit: found {limit}, expected a number of records of at least 1")
    with _no_progress_bars():
        table, config, revision = _open(name, split)
    if len(table) == 0:
        raise FGVEditError(f"data set '{name}': split '{split}' has no records; expected at least 1")
    if limit is not None:
        table = table.select(range(min(limit, len(table))))
    return Loaded(Rows(table), name, config, split, revision)


def _open(name: str, split: str) -> tuple[datasets.Dataset, str, str]:
    """A split as a table with undecoded images, its configuration's name and its revision."""
    if name in embedded():
        _expect_built(name)
        return _open_folder(FOLDER, name, split, name)
    if Path(name).is_dir():
        return _open_folder(Path(name), None, split, name)
    if HUB_ID.fullmatch(name):
        return _open_hub(name, split)
    raise unknown("data set", name, embedded())


def embedded() -> list[str]:
    """The configurations of the embedded data, those that have to be built first among them."""
    return [config["config_name"] for config in card_metadata(FOLDER)["configs"]]


def card_metadata(folder: Path) -> dict[str, Any]:
    """The YAML at the start of a folder's data card, README.md; empty where there is none.

    Raises `FGVEditError`, naming the card, for text there that is not YAML.
    """
    import yaml
    from huggingface_hub import metadata_load

    card = folder / "README.md"
    try:
        return (metadata_load(card) if card.is_file() else None) or {}
    except (yaml.YAMLError, ValueError) as error:
        raise FGVEditError(
            f"data card '{card}': expected names and values as YAML between the lines '---' at its start, found other "
            f"text ({one_line(error)})"
        ) from error


def _expect_built(config: str | None) -> None:
    if config in BUILT and not any((FOLDER / "data" / config).glob("*.parquet")):
        raise FGVEditError(
            f"configuration '{config}' is not built here (no Parquet files in '{FOLDER / 'data' / config}'); expected "
            f"it there: make it with '{BUILT[config]}'"
        )


def _open_folder(folder: Path, config: str | None, split: str, name: str) -> tuple[datasets.Dataset, str, str]:
    import datasets
    import pyarrow
    import pyarrow.parquet

    card_metadata(folder)  # a bad card is called that
    try:
        if config is None and datasets.get_dataset_default_config_name(str(folder)) is None:
            configs = datasets.get_dataset_config_names(str(folder))
            raise FGVEditError(
                f"data set '{name}' has the configurations {', '.join(configs)} and no default one; expected 'default: "
                f"true' beside one of them in '{folder / 'README.md'}', or a folder with the files of one"
            )
        builder = datasets.load_dataset_builder(str(folder), config)
    except (datasets.exceptions.DatasetNotFoundError, FileNotFoundError, ValueError) as error:
        raise FGVEditError(f"data set '{name}': expected Parquet files in folder '{folder}', found none") from error
    files_of: Mapping[str, Sequence[str]] = builder.config.data_files or {}
    if split not in files_of:
        raise unknown(f"split of data set '{name}'", split, map(str, files_of))
    files = [Path(file) for file in files_of[split]]
    rows = 0
    for file in files:
        try:
            parquet = pyarrow.parquet.ParquetFile(file)
        except (pyarrow.ArrowException, OSError) as error:
            raise FGVEditError(
                f"data file '{file}': expected a whole Parquet file, found another ({one_line(error)})"
            ) from error
        _check_columns(parquet.schema_arrow.names, str(file))
        rows += parquet.metadata.num_rows
        parquet.close()
    if rows == 0:
        raise FGVEditError(f"data set '{name}': split '{split}' has no records; expected at least 1")
    try:
        table = datasets.load_dataset(
            "parquet",
            data_files={split: [str(file) for file in files]},
            split=split,
            columns=list(features()),
            features=_undecoded(),
        )
    except datasets.exceptions.DatasetGenerationError as error:
        raise FGVEditError(
            f"data set '{name}': split '{split}' cannot be read from {', '.join(map(str, files))} "
            f"({one_line(error.__cause__ or error)}); expected the columns of fgvedit.schema.features"
        ) from error
    return table, builder.config.name, content_hash(files)


def _open_hub(name: str, split: str) -> tuple[datasets.Dataset, str, str]:
    import datasets
    import huggingface_hub

    try:
        revision = huggingface_hub.HfApi().dataset_info(name).sha
        splits = datasets.get_dataset_split_names(name, revision=revision)
        if split not in splits:
            raise unknown(f"split of data set '{name}'", split, splits)
        table = datasets.load_dataset(name, split=split, revision=revision)
    except FGVEditError:
        raise
    except Exception as error:  # the hub's client raises many types: no network, no such data set, no permission
        raise FGVEditError(
            f"data set '{name}' is not a folder here and could not be read from the hub ({one_line(error)}); expected "
            f"a configuration of the embedded data, a folder or a hub id"
        ) from error
    _check_columns(table.column_names, f"hub data set '{name}'")
    return table.select_columns(list(features())).cast(_undecoded()), table.info.config_name, revision or ""


def _undecoded() -> datasets.Features:
    """The columns with images as they are stored: {"bytes", "path"}."""
    import datasets

    columns = features()
    image = datasets.Image(decode=False)
    columns["image"] = image
    columns["probes"].feature["image"] = image
    return columns


def _check_columns(found: Sequence[str], where: str) -> None:
    missing = [column for column in features() if column not in found]
    if missing:
        raise FGVEditError(f"{where}: column '{missing[0]}' is missing; expected the columns {', '.join(features())}")


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            enable_progress_bar()
