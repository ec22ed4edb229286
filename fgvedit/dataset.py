"""The data: as `datasets` gives it, and as records."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from fgvedit.schema import OPTIONAL, Record, features, record_from_row
from fgvedit.util.errors import FGVEditError, one_line, unknown
from fgvedit.util.revision import content_hash

if TYPE_CHECKING:
    import datasets
    import pyarrow.parquet

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
    def groups(self) -> list[str]:
        """Each record's group, without reading an image."""
        if isinstance(self.records, Rows):
            table = self.records.table
            named = table["group"] if "group" in table.column_names else [None] * len(table)
            return [group or image for group, image in zip(named, table["image_id"], strict=True)]
        return [record.group for record in self.records]

    def pick(self, indices: Sequence[int]) -> Loaded:
        """The records at these indices alone, in this order."""
        if isinstance(self.records, Rows):
            return replace(self, records=Rows(self.records.table.select(indices)))
        return replace(self, records=[self.records[index] for index in indices])


@dataclass(frozen=True)
class Source:
    """One configuration of a data set: the files of each split. `folder`: that of the data card; of a data set of the
    hub it is in the cache."""

    name: str
    config: str
    files: Mapping[str, list[Path]]
    folder: Path

    @cached_property
    def revision(self) -> str:
        """A hash over all files."""
        return content_hash(file for files in self.files.values() for file in files)

    @cached_property
    def rows(self) -> int | None:
        """How many records there are; None where the files, of JSON, do not say it."""
        files = [file for files in self.files.values() for file in files]
        if any(file.suffix != ".parquet" for file in files):
            return None
        return sum(parquet_file(file).metadata.num_rows for file in files)

    def files_of(self, split: str) -> list[Path]:
        """The files of a split. Raises `FGVEditError`, with the nearest name, where there is no such split."""
        if split not in self.files:
            raise unknown(f"split of data set '{self.name}'", split, self.files)
        return self.files[split]

    def lies_in(self, folder: Path) -> bool:
        """Whether one of its files does, or does below."""
        return any(folder.resolve() in file.resolve().parents for files in self.files.values() for file in files)


def load_records(name: str, split: str = "test", limit: int | None = None) -> Loaded:
    """The first `limit` records, or all, of one split of a data set.

    `name`: a configuration of the embedded data (`scenes`), a folder of Parquet files, or a data set's id on the
    Hugging Face hub (`owner/name`). A folder or hub data set of several configurations is read in its default one.

    Raises `FGVEditError` for a data set or split that is not there or is empty, a missing column, a file that is not
    Parquet, groups of some records alone, and a limit below 1. A fault in one record is raised when that record is
    asked for.
    """
    if limit is not None and limit < 1:
        raise FGVEditError(f"limit: found {limit}, expected a number of records of at least 1")
    with _no_progress_bars():
        table, config, revision = _open(name, split)
        _check_groups(table, f"data set '{name}', split '{split}'")
    if len(table) == 0:
        raise FGVEditError(f"data set '{name}': split '{split}' has no records; expected at least 1")
    if limit is not None:
        table = table.select(range(min(limit, len(table))))
    return Loaded(Rows(table), name, config, split, revision)


def _open(name: str, split: str) -> tuple[datasets.Dataset, str, str]:
    """A split as a table with undecoded images, its configuration's name and its revision."""
    found = locate(name)
    if found is None:
        return _open_hub(name, split)
    source = parquet_source(name, *found)
    files = source.files_of(split)
    return _read_files(name, split, files), source.config, content_hash(files)


def locate(name: str) -> tuple[Path, str | None] | None:
    """The folder of a data set and which of its configurations is meant (None: its default one); None for what can only
    be an id on the hub. Raises `FGVEditError` for what is neither."""
    if name in embedded():
        return FOLDER, name
    if Path(name).is_dir():
        return Path(name), None
    if HUB_ID.fullmatch(name) and not Path(name).exists():
        return None
    raise unknown("data set", name, [*embedded(), "a folder", "OWNER/NAME on the hub"])


def parquet_source(name: str, folder: Path, config: str | None = None, instead: str = "") -> Source:
    """The Parquet files of the data set `name`, which lies in `folder`, by split: as its card or their names tell.

    `config`: which of its configurations; None: its default one. `instead`: what is expected where it has several and
    no default one, if not a default one.
    Raises `FGVEditError` for a card that cannot be read, no such configuration, one that has to be built first, and
    where there are no Parquet files or they cannot be told apart by split.
    """
    import datasets

    card_metadata(folder)  # a bad card is called that
    if folder == FOLDER:
        _expect_built(config)
    try:
        configs = datasets.get_dataset_config_names(str(folder))
        if config is not None and config not in configs:
            raise unknown(f"configuration of data set '{name}'", config, configs)
        if config is None and datasets.get_dataset_default_config_name(str(folder)) is None:
            instead = instead or (
                f"'default: true' beside one of them in '{folder / 'README.md'}', or a folder with the files of one"
            )
            raise FGVEditError(
                f"data set '{name}' has the configurations {', '.join(configs)} and no default one; expected {instead}"
            )
        builder = datasets.load_dataset_builder(str(folder), config)
    except (datasets.exceptions.DatasetNotFoundError, OSError, ValueError) as error:
        some = next(folder.rglob("*.parquet"), None) is not None
        found = "some that cannot be told apart by split" if some else "none"
        raise FGVEditError(
            f"data set '{name}': expected Parquet files in folder '{folder}', with names such as "
            f"train-00000.parquet or named by the configs of its README.md; found {found} ({one_line(error)})"
        ) from error
    files = {str(split): [Path(file) for file in files] for split, files in (builder.config.data_files or {}).items()}
    return Source(name, builder.config.name, files, folder)


def parquet_file(file: Path) -> pyarrow.parquet.ParquetFile:
    """A Parquet file, open; little of it is held in memory. Raises `FGVEditError`, naming it, where it is not whole."""
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
    except (pyarrow.ArrowException, OSError) as error:
        raise FGVEditError(
            f"data file '{file}': expected a whole Parquet file, found another ({one_line(error)})"
        ) from error


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


def _read_files(name: str, split: str, files: Sequence[Path]) -> datasets.Dataset:
    """The table in the Parquet files of a split, with undecoded images."""
    import datasets

    rows = 0
    columns = list(features())
    for file in files:
        with parquet_file(file) as parquet:
            found = _check_columns(parquet.schema_arrow.names, f"data file '{file}'")
            rows += parquet.metadata.num_rows
        if file != files[0] and found != columns:
            odd = next(column for column in OPTIONAL if (column in found) != (column in columns))
            raise FGVEditError(
                f"data set '{name}': column '{odd}' is in one of '{files[0]}' and '{file}' alone; expected it in every "
                "file of a split, or in none"
            )
        columns = found
    if rows == 0:
        raise FGVEditError(f"data set '{name}': split '{split}' has no records; expected at least 1")
    try:
        return datasets.load_dataset(
            "parquet",
            data_files={split: [str(file) for file in files]},
            split=split,
            columns=columns,
            features=_undecoded(columns),
        )
    except datasets.exceptions.DatasetGenerationError as error:
        raise FGVEditError(
            f"data set '{name}': split '{split}' cannot be read from {', '.join(map(str, files))} "
            f"({one_line(error.__cause__ or error)}); expected the columns of fgvedit.schema.features"
        ) from error


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
        raise not_on_hub(name, error) from error
    columns = _check_columns(table.column_names, f"hub data set '{name}'")
    return table.select_columns(columns).cast(_undecoded(columns)), table.info.config_name, revision or ""


def not_on_hub(name: str, error: BaseException) -> FGVEditError:
    """The error for a data set that is neither here nor to be had from the hub, whose client raised `error`."""
    return FGVEditError(
        f"data set '{name}' is not a folder here and could not be read from the hub ({one_line(error)}); expected a "
        "configuration of the embedded data, a folder or a hub id"
    )


def _undecoded(columns: Sequence[str]) -> datasets.Features:
    """These columns with images as they are stored: {"bytes", "path"}."""
    import datasets

    image = datasets.Image(decode=False)
    every = features()
    every["image"] = image
    every["probes"].feature["image"] = image
    return datasets.Features({column: every[column] for column in columns})


def _check_columns(found: Sequence[str], where: str) -> list[str]:
    """The columns to be read of those that were found: all of them, but what data may lack."""
    missing = [column for column in features() if column not in found and column not in OPTIONAL]
    if missing:
        raise FGVEditError(f"{where}: column '{missing[0]}' is missing; expected the columns {', '.join(features())}")
    return [column for column in features() if column in found]


def _check_groups(table: datasets.Dataset, where: str) -> None:
    """Raises `FGVEditError`, naming a record, where some have a group and some have none."""
    groups = table["group"] if "group" in table.column_names else []
    without = next((index for index, group in enumerate(groups) if not group), None)
    named = next((index for index, group in enumerate(groups) if group), None)
    if without is not None and named is not None:
        one, other = table[without]["id"], table[named]["id"]
        raise FGVEditError(
            f"{where}: record '{one}' has no group and record '{other}' has '{groups[named]}'; expected a group of "
            "every record, or of none"
        )


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
