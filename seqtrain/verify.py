"""`python -m seqtrain.verify`: does a run resume exactly, are checkpoints whole, what is in a corpus?"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from seqtrain.config.app import Command, command_errors, launch
from seqtrain.config.registry import suggest
from seqtrain.config.root import VerifyDataConfig
from seqtrain.errors import ConfigError

USAGE = """\
python -m seqtrain.verify WORD ...

  resume [key=value ...]   train, kill, resume, and compare with a run that nothing interrupted
  checkpoint DIR ...       look whether checkpoints, or all of a run folder, are whole
  data DIR [key=value ...] report on the quality of a text or a data-bin folder

python -m seqtrain.verify WORD --help tells more.
"""


def main() -> None:
    """Run the command."""
    with command_errors():
        word, *arguments = sys.argv[1:] or ["--help"]
        if word in ("-h", "--help"):
            sys.stdout.write(USAGE)
        elif word == "resume":
            from seqtrain.verification import resume

            sys.exit(resume.run(arguments))
        elif word == "checkpoint":
            from seqtrain.verification import checkpoint

            sys.exit(checkpoint.run(arguments))
        elif word == "data":
            sys.argv = [sys.argv[0], *data_overrides(arguments)]
            launch(Command("verify_data", VerifyDataConfig, "seqtrain.verification.data:run"))
        else:
            words = ("resume", "checkpoint", "data")
            raise ConfigError(f"unknown word {word!r}; there are {', '.join(words)}", remedy=suggest(word, words))


def data_overrides(arguments: Sequence[str]) -> list[str]:
    """What Hydra can read for what a person writes: DIR, the first word, is task.data=DIR; --json is json=true."""
    words = [word for word in arguments if word != "--json"]
    if words and not words[0].startswith(("-", "~")) and "=" not in words[0]:
        escaped = words[0].replace("\\", "\\\\").replace("'", "\\'")
        words[0] = f"task.data='{escaped}'"
    return [*words, "json=true"] if "--json" in arguments else words


if __name__ == "__main__":
    main()
