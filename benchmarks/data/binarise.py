"""Give the pieces of a text their numbers in seqtrain's way: TEXT CODES VOCABULARY PREFIX."""

from __future__ import annotations

import sys
from pathlib import Path

from seqtrain.data.encoding import Codec
from seqtrain.data.preparation import encode_split
from seqtrain.data.text import TextFile
from seqtrain.data.tokenizers import TokenizerKind, TokenizerOptions, make_tokenizer
from seqtrain.data.vocabulary import Vocabulary


def main() -> None:
    """Do what `seqtrain.preprocess` does with one file of a split."""
    text, codes, vocabulary, prefix = map(Path, sys.argv[1:])
    tokenizer = make_tokenizer(TokenizerOptions(kind=TokenizerKind.subword_nmt, bpe_codes=str(codes)), ())
    encode_split([TextFile(text)], [Codec(tokenizer, Vocabulary.load(vocabulary))], [prefix])


if __name__ == "__main__":
    main()
