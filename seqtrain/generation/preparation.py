"""A model whose decoder is laid out for generation, if it is one that can be."""

from __future__ import annotations

from threading import Lock
from typing import Protocol, runtime_checkable

import torch

from seqtrain.config.sections import Quantization
from seqtrain.errors import ConfigError
from seqtrain.models.base import Model
from seqtrain.nn.decoding_kernels import DecodingKernels, decoding_kernels
from seqtrain.nn.packed_linear import multiplies_int8
from seqtrain.nn.prepared_decoder import DecoderParts, DecodingFormat, PreparedDecoder, can_be_prepared

__all__ = ["Preparation", "PreparesDecoder"]


@runtime_checkable
class PreparesDecoder(Protocol):
    """A model whose `decode_step` is what `PreparedDecoder` computes from these parts, with a `TransformerCache`.

    A class says so for itself: what inherits from it may decode in another way, and is asked for its own word.
    """

    def decoder_parts(self) -> DecoderParts:
        """The modules that a step goes through."""
        ...


class Preparation:
    """A model and its prepared decoder, which is made when it is first needed, and anew after the weights changed.

    Args:
        model: What decodes.
        quantization: How large weights are held.
        has_kernels: Decode with compiled kernels.

    Raises:
        ConfigError: The model or the machine cannot decode with 8-bit integers, or not with compiled kernels.
    """

    def __init__(
        self, model: Model, quantization: Quantization = Quantization.none, *, has_kernels: bool = False
    ) -> None:
        self.model = model
        self._kernels: DecodingKernels | None = None
        if has_kernels:
            self._require(on_cpu="generation.compile=true", remedy="leave generation.compile at false")
            self._kernels = decoding_kernels()
        self._int8 = quantization is Quantization.int8
        self._decoder: PreparedDecoder | None = None
        self._made_from: tuple[object, ...] = ()
        self._lock = Lock()  # threads that begin at once shall not each lay the weights out
        if self._int8:
            self._require_int8()

    @property
    def is_possible(self) -> bool:
        """Whether the model says that it can be prepared, and has the layers that it says it has."""
        if "decoder_parts" not in vars(type(self.model)):
            return False
        assert isinstance(self.model, PreparesDecoder)
        return can_be_prepared(self.model.decoder_parts().stack)

    def decoder(self) -> PreparedDecoder | None:
        """The decoder in the number format of the current context; None for a model that cannot be prepared."""
        if not self.is_possible:
            return None
        assert isinstance(self.model, PreparesDecoder)
        parts = self.model.decoder_parts()
        device_type, dtype = parts.output_weight.device.type, parts.output_weight.dtype
        if torch.is_autocast_enabled(device_type):
            dtype = torch.get_autocast_dtype(device_type)
        # an optimizer, or loading, changes parameters in place, which torch counts
        made_from = (dtype, *((id(value), value._version) for value in self.model.parameters()))
        with self._lock:
            if self._decoder is None or made_from != self._made_from:
                self._decoder = PreparedDecoder(parts, DecodingFormat(dtype, int8=self._int8, kernels=self._kernels))
                self._made_from = made_from
            return self._decoder

    def _require_int8(self) -> None:
        setting, remedy = "generation.quantization=int8", "leave generation.quantization at none"
        self._require(on_cpu=setting, remedy=remedy)
        if not multiplies_int8():
            raise ConfigError(
                f"{setting} needs a CPU with instructions for products of 8-bit integers (VNNI), and this one has none",
                remedy=remedy,
            )

    def _require(self, *, on_cpu: str, remedy: str) -> None:
        """Raise an error unless the model can be prepared and is on a CPU, which a setting needs."""
        if not self.is_possible:
            raise ConfigError(
                f"{on_cpu}, but a {type(self.model).__name__} has no decoder_parts to prepare", remedy=remedy
            )
        device = next(self.model.parameters()).device
        if device.type != "cpu":
            raise ConfigError(f"{on_cpu} is for a CPU, but the model is on {device.type}", remedy=remedy)
