"""Give the pieces of a text their numbers, line by line, in plain Python: PIECES VOCABULARY OUTPUT."""

from __future__ import annotations

import sys
from array import array
from pathlib import Path

EOS, UNKNOWN, NUM_SPECIAL = 2, 3, 4


def main() -> None:
    """Write the numbers in 16 bits each."""
    pieces, vocabulary, output = map(Path, sys.argv[1:])
    with vocabulary.open(encoding="utf-8") as lines:
        numbers = {line.rsplit(" ", 1)[0]: number for number, line in enumerate(lines, NUM_SPECIAL)}
    with pieces.open(encoding="utf-8") as lines, output.open("wb") as file:
        for line in lines:
            numbered = array("H", [numbers.get(piece, UNKNOWN) for piece in line.split()])
            numbered.append(EOS)
            numbered.tofile(file)


if __name__ == "__main__":
    main()
