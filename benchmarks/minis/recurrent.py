"""Recurrent networks, and loops and branches of the exporters' own making."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from .mini import Builder, Mini

__all__ = ["MINIS"]


class Recurrent(nn.Module):
    """A recurrent layer between an embedding and a classifier."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.embed, self.layer, self.head = nn.Embedding(32, 8), layer, nn.Linear(width, 4)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(self.layer(self.embed(input_ids))[0][:, -1])
        return output


def _classifier(layer: nn.Module, width: int) -> Mini:
    return Mini(Recurrent(layer, width), {"input_ids": torch.randint(0, 32, (2, 5))}, ("logits",))


def lstm() -> Mini:
    return _classifier(nn.LSTM(8, 12, num_layers=2, batch_first=True), 12)


def gru() -> Mini:
    return _classifier(nn.GRU(8, 12, batch_first=True, bidirectional=True), 24)


def rnn() -> Mini:
    return _classifier(nn.RNN(8, 12, batch_first=True), 12)


class Picked(nn.Module):
    """Top scores, a masked fill, an einsum, triangles and a scatter: what heads of detectors and samplers hold."""

    def forward(self, scores: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        best, where = scores.topk(3, dim=-1)
        gathered = values.gather(1, where.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
        mixed = torch.einsum("bk,bkd->bd", best.softmax(-1), gathered)
        mask = torch.ones(scores.shape[-1], scores.shape[-1]).tril()
        spread = torch.zeros_like(scores).scatter(1, where, best)
        return mixed, (spread.unsqueeze(1) * mask).masked_fill(mask == 0, -1.0).cumsum(-1)


def picked() -> Mini:
    return Mini(Picked(), {"scores": torch.randn(2, 8), "values": torch.randn(2, 8, 4)}, ("mixed", "spread"))


MINIS: Mapping[str, Builder] = {"lstm": lstm, "gru": gru, "rnn": rnn, "picked": picked}
