"""Croissant metadata (http://mlcommons.org/croissant/1.0): files, and what their columns hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from builders.provenance import Origin, carried, origins
from builders.publish.publication import Config, Publication
from fgvedit.probes import changes

HUB = "https://huggingface.co/datasets"
FORM = "http://mlcommons.org/croissant/1.0"
TERMS = """citeAs column equivalentProperty extract field fileObject fileProperty fileSet format includes isLiveDataset
jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source subField
transform"""
# How JSON-LD is to read what stands in the metadata, as the specification sets it down.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{term: f"cr:{term}" for term in TERMS.split()},
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}
TEXTS = {
    "id": "The record's name, unique in its configuration.",
    "group": "Records of one group, about one image or several, were drawn together: they lie in one split.",
    "image_id": "The name of the image that the edit is about.",
    "question": "The edit's question, about one entity of the image.",
    "answer": "What a model should have said before the edit.",
    "target": "The edit: what a model should say from now on.",
}
PROBE_TEXTS = {
    "kind": "What the probe tests; it says which answer is right after the edit.",
    "question": "The question asked before and after the edit.",
    "answer": "The right answer, before the edit and after it.",
    "image_id": "The name of the image that the question is about; empty for none.",
}


def croissant(about: Publication, configs: Sequence[Config], checksums: Mapping[str, str]) -> dict[str, Any]:
    """The metadata as JSON-LD. `checksums`: path in the repository -> SHA-256, of every data file."""
    files = [path for config in configs for paths in config.files.values() for path in paths]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": FORM,
        "name": re.sub(r"[^\w-]", "_", about.repo.partition("/")[2]),
        "description": f"{about.title}: edits of what a multimodal language model knows about one entity of an image, "
        "and questions that show whether an edit took and stayed where it belongs.",
        **_terms(about, configs),
        "url": f"{HUB}/{about.repo}",
        "creator": {"@type": "sc:Organization", "name": about.repo.partition("/")[0]},
        "citeAs": "arXiv 2411.12790",
        "version": "1.0.0",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "repo",
                "name": "repo",
                "description": "The repository on the Hugging Face hub.",
                "contentUrl": f"{HUB}/{about.repo}",
                "encodingFormat": "git+https",
                "sha256": "https://github.com/mlcommons/croissant/issues/80",  # what the format has for repositories
            },
            *(_file(path, checksums[path]) for path in files),
            *(_file_set(config) for config in configs),
        ],
        "recordSet": [_record_set(config, about.embed_images) for config in configs],
    }


def _terms(about: Publication, configs: Sequence[Config]) -> dict[str, Any]:
    """The licence and, where its author says nothing else of them, the origins, each with its own terms."""
    own = f"https://choosealicense.com/licenses/{about.licence}/"
    if about.provenance:
        return {"license": own}
    there = {kind for config in configs for kind in config.kinds}
    others = [origin.terms for origin in carried(about.licence, there)]
    return {"license": [own, *others] if others else own, "isBasedOn": [_origin(origin) for origin in origins(there)]}


def _origin(origin: Origin) -> dict[str, Any]:
    return {"@type": "sc:Dataset", "name": origin.name, "url": origin.url, "license": origin.terms}


def _file(path: str, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path.replace("/", "_"),
        "containedIn": {"@id": "repo"},
        "contentUrl": path,
        "encodingFormat": "application/x-parquet",
        "sha256": sha256,
    }


def _file_set(config: Config) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"files-{config.name}",
        "name": f"files-{config.name}",
        "containedIn": {"@id": "repo"},
        "encodingFormat": "application/x-parquet",
        "includes": f"data/{config.name}/*.parquet",
    }


def _record_set(config: Config, embedded: bool) -> dict[str, Any]:
    image = ("sc:ImageObject", "bytes") if embedded else ("sc:URL", "path")
    texts = dict(PROBE_TEXTS)
    if changed := ", ".join(kind for kind in config.kinds if changes(kind)):
        texts["answer"] = f"For the kinds {changed} the right answer after the edit."

    def field(name: str, kind: str, about: str, column: str, path: str = "", **more: Any) -> dict[str, Any]:
        source = {"extract": {"column": column}, **({"transform": {"jsonPath": path}} if path else {})}
        return _field(config, name, kind, about, source, **more)

    def of_probes(name: str, kind: str, about: str, path: str) -> dict[str, Any]:
        return field(f"probes/{name}", kind, about, "probes", f"[*].{path}", repeated=True)

    return {
        "@type": "cr:RecordSet",
        "@id": config.name,
        "name": config.name,
        "description": f"The edits of the configuration {config.name}, with their probes.",
        "field": [
            _split_field(config),
            *(field(name, "sc:Text", text, name) for name, text in TEXTS.items()),
            field("image", image[0], "The image that the edit is about.", "image", image[1]),
            field("entity/name", "sc:Text", "The entity that the edit is about, in words.", "entity", "name"),
            field("entity/box", "sc:Float", "x, y, width, height in pixels.", "entity", "box", repeated=True),
            *(of_probes(name, "sc:Text", text, name) for name, text in texts.items()),
            of_probes("image", image[0], "The image, where not the record's.", f"image.{image[1]}"),
        ],
    }


def _split_field(config: Config) -> dict[str, Any]:
    """The split of a record, which its file's path tells."""
    splits = "|".join(map(re.escape, config.files))
    source = {
        "extract": {"fileProperty": "fullpath"},
        "transform": {"regex": rf"data/{re.escape(config.name)}/({splits})-\d+\.parquet$"},
    }
    return _field(config, "split", "sc:Text", "The split that the record is of.", source)


def _field(config: Config, name: str, kind: str, about: str, source: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{config.name}/{name}",
        "name": name,
        "description": about,
        "dataType": kind,
        "source": {"fileSet": {"@id": f"files-{config.name}"}, **source},
        **more,
    }
