"""YAML text to plain values that remember their lines.

A strict subset: no tags, anchors or duplicate keys, and YAML 1.2's plain words, so that `on:` is a key and the country
code `NO` is a text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where PyYAML was built with it: ten times faster, and every command reads two files."""

_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_LENIENT = re.compile(r"\t|\?|[|>][-+0-9]*#")
"""Where libyaml takes what PyYAML does not: tabs, question marks within brackets, a comment right behind a block's sign."""
_COMMENT = re.compile(r"^ *#[^\"'\r\n\x85\u2028\u2029]*(?=[\r\n\x85\u2028\u2029]|\Z)", re.MULTILINE)
"""A line of its own, where questions are asked. Without quotes, which could end a text that this line is part of."""

_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
MAX_SIZE = 1_000_000
MAX_DEPTH = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: its line (1-based), its field, what is wrong, and what to do."""

    line: int
    field: str
    message: str


@dataclass(slots=True)
class Source:
    """Plain values (`dict`, `list`, scalars) and the line where each path starts."""

    value: object = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Sequence[str | int]) -> int:
        """The line of a path, or of its nearest part that is written down."""
        steps = tuple(path)
        while steps and steps not in self.lines:
            steps = steps[:-1]
        return self.lines.get(steps, 1)


def read_source(text: str) -> Source:
    """Parse; what cannot be read is in `problems`, never raised."""
    if not _LENIENT.search(_COMMENT.sub("", text)):
        source = _read(text, FAST)
        if not source.problems:
            return source
    return _read(text, yaml.SafeLoader)  # which also says better what it found, and where


def _read(text: str, loader: Any) -> Source:
    source = Source()
    if len(text) > MAX_SIZE:
        source.problems.append(Problem(1, "", "the file is larger than 1 MB"))
        return source
    try:
        if not _refuse_tricks(text, source, loader):
            return source
        node = yaml.compose(text, Loader=loader)
    except (yaml.YAMLError, RecursionError, UnicodeEncodeError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = getattr(error, "problem", None) or "the nesting is too deep, or the text is not YAML"
        source.problems.append(Problem(mark.line + 1 if mark else 1, "", f"not valid YAML: {what}"))
        return source
    if node is None:
        source.problems.append(Problem(1, "", "the file is empty"))
        return source
    source.value = _value(node, (), source)
    return source


def _line(mark: Any) -> int:
    return int(mark.line) + 1


def _refuse_tricks(text: str, source: Source, loader: Any) -> bool:
    documents = depth = 0
    for event in yaml.parse(text, Loader=loader):
        line = _line(event.start_mark)
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        tag = getattr(event, "tag", None)
        if tag is not None:
            source.problems.append(Problem(line, "", f"the YAML tag {tag} is not allowed: write plain values"))
        elif getattr(event, "anchor", None) is not None:
            source.problems.append(Problem(line, "", "YAML anchors and aliases are not allowed: write the value out"))
        elif documents > 1:
            source.problems.append(Problem(line, "", "one file holds one document: remove the second (---)"))
        elif depth > MAX_DEPTH:
            source.problems.append(Problem(line, "", "the nesting is too deep"))
        else:
            continue
        return False
    return True


def _value(node: yaml.Node, path: Path, source: Source) -> object:
    source.lines.setdefault(path, _line(node.start_mark))
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, at), source) for at, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = _line(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                source.problems.append(Problem(line, dotted(path), "a key must be a plain word"))
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key in mapping:
                first = source.lines[here]
                source.problems.append(Problem(line, dotted(here), f"the key is written twice (first on line {first})"))
                continue
            source.lines[here] = line
            mapping[key] = _value(value_node, here, source)
        return mapping
    return _scalar(node)


def _scalar(node: yaml.Node) -> object:
    text = str(node.value)
    if getattr(node, "style", None):
        return text  # quoted
    if text in _WORDS:
        return _WORDS[text]
    number = _NUMBER.fullmatch(text)
    if number is None or len(text) > 30:
        return text
    return float(text) if number[2] or number[3] else int(text)


def dotted(path: Sequence[str | int]) -> str:
    """A path as people read it: `rules[3].decay.half_life`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
