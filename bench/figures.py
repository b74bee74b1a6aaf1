"""One measured figure, and how a list of them is shown."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """`target` is what DESIGN §8 wants, as text; empty where it names none."""

    name: str
    value: float
    unit: str
    target: str = ""

    def __str__(self) -> str:
        number = f"{self.value:,.0f}" if abs(self.value) >= 100 else f"{self.value:.3g}"
        return f"{self.name:<58} {number:>10} {self.unit:<8} {self.target}"


def show(figures: Iterable[Figure]) -> str:
    return "\n".join(str(figure) for figure in figures)
