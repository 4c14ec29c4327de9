"""The training of SPEAR-TTS with little parallel data (arXiv 2302.03540, section 4).

A model is pretrained to restore sequences of semantic tokens of which most were deleted. Its decoder is then
trained on the few available texts, to write pseudo-labels for speech without text (back-translation). Both
the few pairs and the many pseudo-labelled ones train it to turn text into semantic tokens.
`spear_tts_trainers` runs all three stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from soundstorm_runtime.support.atomic import atomic_file

from ...errors import ConfigError, CorpusError
from ...support.tensor_files import read_tensors
from ...text_to_semantic.alphabet import MODALITIES, Modality
from ...text_to_semantic.autoregressive import TextToSemantic
from ...units.semantic_units import SemanticTokenizer

SPEECH_TO_SPEECH: dict[str, Any] = {"source_type": "speech", "target_type": "speech"}
SPEECH_TO_TEXT: dict[str, Any] = {"source_type": "speech", "target_type": "text"}
TEXT_TO_SPEECH: dict[str, Any] = {"source_type": "text", "target_type": "speech"}
LOSS_AND_LOGITS: dict[str, Any] = {"return_loss": True, "return_logits": True}


class Deletion:
    """Deletes random tokens, and returns source and target of the reconstruction.

    Args:
        probability: share of the tokens that is deleted; at least one is kept.
        reconstruct: whether the target is the whole sequence, as in the paper, or the deleted tokens only.
        mask_id: replaces deleted tokens, so that sequences keep their lengths; None removes them.

    Raises:
        ConfigError: the probability is impossible, or `mask_id` is given without `reconstruct`.
    """

    def __init__(
        self, probability: float = 0.6, reconstruct: bool = False, mask_id: int | None = None
    ) -> None:
        if not 0 < probability < 1:
            raise ConfigError(f"deletion_prob is {probability}, expected above 0 and below 1")
        if mask_id is not None and not reconstruct:
            raise ConfigError(
                f"mask_id is {mask_id} without reconstruct_seq, expected both; set reconstruct_seq"
            )
        self.probability, self.reconstruct, self.mask_id = probability, reconstruct, mask_id

    def __call__(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return source, target and masks, as `TextToSemantic` takes them, for ids `[batch, tokens]`."""
        lengths = mask.sum(dim=1, keepdim=True)
        count = (lengths * self.probability).round().clamp(min=1).minimum(lengths - 1)
        order = torch.rand(ids.shape, device=ids.device).masked_fill(~mask, 2).argsort(dim=1).argsort(dim=1)
        deleted = order < count
        if self.mask_id is None:
            source, source_mask = _closed_up(ids, mask & ~deleted)
        else:
            source, source_mask = ids.masked_fill(deleted, self.mask_id), mask
        target, target_mask = (ids, mask) if self.reconstruct else _closed_up(ids, deleted)
        return {"source": source, "target": target, "source_mask": source_mask, "target_mask": target_mask}


def _closed_up(ids: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Move the ids that are kept to the front of their rows; return them and their mask."""
    order = (~kept).long().argsort(dim=1, stable=True)[:, : int(kept.sum(dim=1).max())]
    return ids.gather(1, order), kept.gather(1, order)


class SpeechSpeechPretrainWrapper(nn.Module):
    """Pretraining: the loss of restoring deleted tokens."""

    def __init__(
        self,
        model: TextToSemantic,
        wav2vec: SemanticTokenizer | None = None,
        deletion_prob: float = 0.6,
        reconstruct_seq: bool = False,
        mask_id: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.wav2vec = model.wav2vec if wav2vec is None else wav2vec
        self.delete = Deletion(deletion_prob, reconstruct_seq, mask_id)

    def forward(self, x: Tensor, return_early_exit_loss: bool = False) -> tuple[Tensor, Tensor]:
        """Return loss and logits of padded tokens `[batch, tokens]` or audio `[batch, samples]`."""
        if x.is_floating_point() and self.wav2vec is not None:
            x = self.wav2vec.eval().tokenize(x)
        pairs = self.delete(*self.model.ids_and_mask(x, "speech", with_end=False))
        early = {"return_early_exit_loss": return_early_exit_loss}
        return self.model(**pairs, **SPEECH_TO_SPEECH, **LOSS_AND_LOGITS, **early)


class SemanticToTextWrapper(nn.Module):
    """Back-translation: the loss of predicting the text of semantic tokens."""

    def __init__(self, model: TextToSemantic) -> None:
        super().__init__()
        self.model = model

    def forward(self, semantic_token_ids: Tensor, grapheme_token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and logits of padded ids `[batch, length]`."""
        return self.model(semantic_token_ids, grapheme_token_ids, **SPEECH_TO_TEXT, **LOSS_AND_LOGITS)


class TextToSemanticWrapper(nn.Module):
    """Fine-tuning: the loss of predicting the semantic tokens of a text."""

    def __init__(self, model: TextToSemantic) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        grapheme_token_ids: Tensor,
        semantic_token_ids: Tensor,
        return_early_exit_loss: bool | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return loss and logits of padded ids `[batch, length]`; an early exit is trained as well."""
        early = (
            self.model.early_exit is not None if return_early_exit_loss is None else return_early_exit_loss
        )
        options = {**TEXT_TO_SPEECH, **LOSS_AND_LOGITS, "return_early_exit_loss": early}
        return self.model(grapheme_token_ids, semantic_token_ids, **options)


def train_for_pretraining(model: TextToSemantic) -> None:
    """Unfreeze all that can be trained on speech alone."""
    _train_only(model, model.source, model.target, model.embedding["speech"], model.begin["speech"])


def train_for_back_translation(model: TextToSemantic) -> None:
    """Unfreeze decoder and text; the pretrained encoder is frozen."""
    _train_only(model, model.target, model.embedding["text"], model.begin["text"])


def train_for_fine_tuning(model: TextToSemantic, frozen_layers: int = 2) -> None:
    """Unfreeze text, early exit and the encoder from block `frozen_layers`; the decoder is frozen."""
    parts = [*model.source.blocks[frozen_layers:], model.source.norm, model.embedding["text"]]
    _train_only(model, *parts, *([] if model.early_exit is None else [model.early_exit]))


def _train_only(model: TextToSemantic, *parts: Any) -> None:
    model.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)


class SemanticToTextDatasetGenerator:
    """Writes pseudo-labels: texts for speech without text, one file per item.

    Args:
        model: with a decoder trained for back-translation.
        dataset: semantic tokens `[tokens]` or audio `[samples]`, alone or in a tuple of one.
        folder: of the files, which `GeneratedAudioTextDataset` reads.
        batch_size: items at a time.
        delimiter_id: stands between tokens and text in a file; the id of nothing else.
        audio_pad_id, text_pad_id: ids that are left out of the files, beside the model's own padding and end.

    Raises:
        ConfigError: the delimiter is the id of a token.
    """

    def __init__(
        self,
        model: TextToSemantic,
        *,
        dataset: Dataset[Any],
        folder: str | Path = "./generated-audio-text-pairs",
        batch_size: int = 4,
        delimiter_id: int = -1,
        audio_pad_id: int | None = None,
        text_pad_id: int | None = 0,
    ) -> None:
        if any(0 <= delimiter_id < alphabet.rows for alphabet in model.alphabets.values()):
            raise ConfigError(
                f"delimiter_id is {delimiter_id}, the id of a token; choose another, such as -1"
            )
        self.model, self.dataset, self.folder = model, dataset, Path(folder)
        self.batch_size, self.delimiter_id = batch_size, delimiter_id
        self.left_out: dict[Modality, int | None] = {"speech": audio_pad_id, "text": text_pad_id}

    def __call__(
        self, max_length: int = 2048, beam_search_decode: bool = True, **generate_kwargs: Any
    ) -> None:
        """Write all files; further options are those of `TextToSemantic.generate`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        size = len(self.dataset)  # type: ignore[arg-type]
        for start in range(0, size, self.batch_size):
            numbers = range(start, min(start + self.batch_size, size))
            source, mask = _stack([_bare(self.dataset[number]) for number in numbers], self.model)
            written = self.model.generate(
                source, source_mask=mask, max_length=max_length, beam_search_decode=beam_search_decode,
                return_target_mask=True, **SPEECH_TO_TEXT, **generate_kwargs,
            )  # fmt: skip
            for number, *parts in zip(numbers, source, mask, *written, strict=True):
                self._write(number, *parts)

    def _write(
        self, number: int, speech: Tensor, speech_mask: Tensor, text: Tensor, text_mask: Tensor
    ) -> None:
        rows = []
        for name, ids, mask in zip(MODALITIES, (speech, text), (speech_mask, text_mask), strict=True):
            wanted = mask & (ids != self.model.alphabets[name].end)
            if (pad := self.left_out[name]) is not None:
                wanted &= ids != pad
            rows.append(ids[wanted])
        row = torch.cat([rows[0], rows[0].new_tensor([self.delimiter_id]), rows[1]])
        with atomic_file(self.folder / f"{number}.pt") as work:
            torch.save(row.cpu(), work)


def _bare(item: Any) -> Tensor:
    return item[0] if isinstance(item, tuple | list) else item


def _stack(items: Sequence[Tensor], model: TextToSemantic) -> tuple[Tensor, Tensor]:
    """Pad semantic tokens `[tokens]`, computed from audio where needed; return both tokens and mask."""
    rows = [model.ids_and_mask(item[None], "speech", with_end=False) for item in items]
    ids, masks = (
        pad_sequence([part[0] for part in column], batch_first=True) for column in zip(*rows, strict=True)
    )
    device = model.begin["speech"].device
    return ids.to(device), masks.to(device)


class GeneratedAudioTextDataset(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of semantic tokens and text, int64 `[length]` each, from the generator's folder.

    Files are read without executing code.

    Raises:
        CorpusError: the folder has no file, or a file has no delimiter.
    """

    def __init__(self, folder: str | Path, delimiter_id: int = -1) -> None:
        self.paths = sorted(Path(folder).glob("*.pt"), key=lambda path: (len(path.name), path.name))
        self.delimiter_id = delimiter_id
        if not self.paths:
            raise CorpusError(
                f"no *.pt in {folder}, expected pairs of semantic tokens and text; generate them"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        path = self.paths[number]
        row = read_tensors(path, "pair of semantic tokens and text")
        places = row == self.delimiter_id if isinstance(row, Tensor) and row.ndim == 1 else torch.zeros(0)
        if not places.any():
            raise CorpusError(
                f"{path} has no delimiter {self.delimiter_id} between speech and text; give its delimiter_id"
            )
        place = int(places.long().argmax())
        return row[:place], row[place + 1 :]
