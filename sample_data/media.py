"""Photos, clips and documents, each folder with a table that names its files and asks about them.

A photo is a simple shape in one colour, a clip some beeps, a document a short letter or bill; `answer`
is what a model that sees or hears should say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from draw import Draw
from encode import Colour, beep, pdf, png, silence, wav

WIDTH, HEIGHT = 96, 72
COLOURS: Mapping[str, Colour] = {
    "red": (200, 40, 40),
    "green": (40, 150, 70),
    "blue": (40, 80, 190),
    "yellow": (235, 200, 50),
}
GROUNDS: tuple[Colour, ...] = ((244, 240, 230), (225, 232, 238), (30, 32, 38))
Shape = Callable[[int, int, int], bool]
"""Whether a point, by its distance from the middle, lies in a shape of that size."""
SHAPES: Mapping[str, Shape] = {
    "circle": lambda x, y, size: x * x + y * y <= size * size,
    "square": lambda x, y, size: max(abs(x), abs(y)) <= size,
    "triangle": lambda x, y, size: abs(x) * 2 <= y + size <= 2 * size,
    "ring": lambda x, y, size: size * size // 3 <= x * x + y * y <= size * size,
}
QUESTIONS = (
    "Which shape is in the picture, and what colour is it?",
    "Name the colour and the shape, in two words.",
    "What do you see? Answer as `colour shape`.",
)


@dataclass(frozen=True, slots=True)
class Item:
    """A row of a table, and the file it names."""

    id: str
    file: str
    question: str
    answer: str
    data: bytes

    @property
    def row(self) -> dict[str, str]:
        return {"id": self.id, "file": self.file, "question": self.question, "answer": self.answer}


def photos() -> Iterator[Item]:
    """Eight pictures, each colour and each shape twice."""
    draw = Draw("photos")
    for number in range(1, 9):
        colour, shape = draw.deal(tuple(COLOURS)), draw.deal(tuple(SHAPES))
        yield Item(
            id=f"P{number}",
            file=f"photos/{number:02}-{draw.pick(('IMG', 'DSC', 'scan'))}.png",
            question=draw.deal(QUESTIONS),
            answer=f"{colour} {shape}",
            data=picture(draw, COLOURS[colour], SHAPES[shape]),
        )


def picture(draw: Draw, colour: Colour, inside: Shape) -> bytes:
    """The shape with a shadow, somewhere near the middle."""
    across, down = WIDTH // 2 + draw.number(-10, 10), HEIGHT // 2 + draw.number(-5, 5)
    size = draw.number(16, 26)

    def point(x: int, y: int) -> int:
        if inside(x - across, y - down, size):
            return 1
        return 2 if inside(x - across - 4, y - down - 4, size) else 0

    rows = [[point(x, y) for x in range(WIDTH)] for y in range(HEIGHT)]
    ground = draw.pick(GROUNDS)
    shadow = (ground[0] * 3 // 4, ground[1] * 3 // 4, ground[2] * 3 // 4)
    return png(rows, [ground, colour, shadow])


def clips() -> Iterator[Item]:
    """One to four beeps, in less than half a second each."""
    draw = Draw("clips")
    for number, beeps in enumerate((3, 1, 4, 2), 1):
        hertz = draw.pick((400, 500, 800))
        sound = b"".join(silence(30) + beep(hertz, draw.number(30, 70)) for _ in range(beeps))
        yield Item(
            id=f"C{number}",
            file=f"clips/clip-{number}.wav",
            question="How many beeps are in the recording? Answer with a number.",
            answer=str(beeps),
            data=wav(sound + silence(30)),
        )


DOCUMENTS = {
    "bill": (
        ("What is the total, in EUR?", "84.90"),
        ("Fenwarren Home: invoice 2025-0417", "1 gooseneck kettle, 0.9 l, navy", "Total: 84.90 EUR"),
    ),
    "letter": (
        ("On which day does the subscription end? Answer as YYYY-MM-DD.", "2026-03-31"),
        ("Notice of termination", "Dear Vossel & Reed team,", "my subscription ends on 31 March 2026."),
    ),
    "menu": (
        ("What does the fish cost?", "12.40"),
        ("Cafe Bramwyke (week 14)", "Mon  Leek soup 6.50", "Tue  Risotto 9.80", "Wed  Baked trout 12.40"),
    ),
}


def documents() -> Iterator[Item]:
    """A bill, a letter and a menu, one page each."""
    for number, (name, ((question, answer), lines)) in enumerate(DOCUMENTS.items(), 1):
        yield Item(f"D{number}", f"documents/{name}.pdf", question, answer, pdf(lines))


TABLES: Mapping[str, Callable[[], Iterator[Item]]] = {
    "photos": photos,
    "clips": clips,
    "documents": documents,
}
