"""The vendor's query errors: code, text and the caret block that points into the query.

The block quotes about thirty characters on either side of the caret, widened to whole words (a comma or a space
ends a word). Semantic errors give a 1-based column, syntax errors the parser's 0-based one; the caret stands under
the character before that column in both. Measured on messages recorded in public issue trackers.
"""

from sandbox.salesforce.soql.types import SoqlError

_REACH = 30
_REFERENCE_TAIL = "Please reference your WSDL or the describe call for the appropriate names."


def draw_caret(text: str, column_offset: int, pos: int) -> str:
    """The quoted line, the caret and ``ERROR at Row:r:Column:c`` for the character at ``pos``.

    ``column_offset`` is 1 for semantic errors, 0 for syntax errors.
    """
    pos = min(max(pos, 0), len(text))
    line_start = text.rfind("\n", 0, pos) + 1
    line_end = text.find("\n", pos)
    line = text[line_start : len(text) if line_end < 0 else line_end]
    row = text.count("\n", 0, pos) + 1
    column = pos - line_start + column_offset
    caret = max(column - 1, 0)
    start = max(caret - _REACH, 0)
    while start > 0 and line[start - 1] not in " ,":
        start -= 1
    end = min(caret + _REACH, len(line))
    while end < len(line) and line[end] not in " ,":
        end += 1
    return f"\n{line[start:end]}\n{' ' * (caret - start)}^\nERROR at Row:{row}:Column:{column}\n"


def refuse(code: str, text: str, pos: int, message: str) -> SoqlError:
    """A semantic error at ``pos``."""
    return SoqlError(code, draw_caret(text, 1, pos) + message)


def refuse_syntax(text: str, pos: int, message: str) -> SoqlError:
    """MALFORMED_QUERY from the parser or the lexer."""
    return SoqlError("MALFORMED_QUERY", draw_caret(text, 0, pos) + message)


def refuse_character(text: str, pos: int) -> SoqlError:
    """The lexer met a character that begins no token."""
    line_start = text.rfind("\n", 0, pos) + 1
    row = text.count("\n", 0, pos) + 1
    met = text[pos] if pos < len(text) else "<EOF>"
    message = f"line {row}:{pos - line_start} no viable alternative at character '{met}'"
    return refuse_syntax(text, pos, message)


def unknown_field(text: str, pos: int, field: str, entity: str) -> SoqlError:
    """No such field, or one that field-level security hides: the same answer on purpose."""
    return refuse(
        "INVALID_FIELD",
        text,
        pos,
        f"No such column '{field}' on entity '{entity}'. If you are attempting to use a custom field, be sure to "
        f"append the '__c' after the custom field name. {_REFERENCE_TAIL}",
    )


def unknown_sobject(text: str, pos: int, name: str) -> SoqlError:
    return refuse(
        "INVALID_TYPE",
        text,
        pos,
        f"sObject type '{name}' is not supported. If you are attempting to use a custom object, be sure to append "
        f"the '__c' after the entity name. {_REFERENCE_TAIL}",
    )


def unknown_parent(text: str, pos: int, name: str) -> SoqlError:
    return refuse(
        "INVALID_FIELD",
        text,
        pos,
        f"Didn't understand relationship '{name}' in field path. If you are attempting to use a custom relationship, "
        f"be sure to append the '__r' after the custom relationship name. {_REFERENCE_TAIL}",
    )


def unknown_children(text: str, pos: int, name: str) -> SoqlError:
    return refuse(
        "INVALID_TYPE",
        text,
        pos,
        f"Didn't understand relationship '{name}' in FROM part of query call. If you are attempting to use a custom "
        f"relationship, be sure to append the '__r' after the custom relationship name. {_REFERENCE_TAIL}",
    )


def too_complicated() -> SoqlError:
    return SoqlError(
        "QUERY_TOO_COMPLICATED",
        "Query is either selecting too many fields or the filter conditions are too complicated.",
    )
