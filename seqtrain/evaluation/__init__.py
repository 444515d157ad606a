"""Evaluation: the measures of decoded text and of likelihoods."""

from seqtrain.evaluation.bleu import bleu
from seqtrain.evaluation.chrf import chrf
from seqtrain.evaluation.exact_match import exact_match
from seqtrain.evaluation.perplexity import perplexity

__all__ = ["bleu", "chrf", "exact_match", "perplexity"]
