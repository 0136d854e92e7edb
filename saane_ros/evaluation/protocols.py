"""The protocol of an evaluation in words, so that no figure stands without it."""

from __future__ import annotations

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.evaluation.searches import Search

FOOTNOTES = (
    "plain: the second best of the ratio test is any other reference; window: one more than 5 "
    "references away. Figures of different columns are never compared.",
    "* paper: plain+R1, recall = TP / (TP + rejected), the reading nearest to SAANE's protocol.",
    "** headline: window+R2, recall = TP / queries with a match, never above Recall@1.",
    "R3: recall = TP / correct answers. R at 100 % and 99 % precision: on the headline curve.",
    "embed ms: one image in batches of 8 on this machine; search ms: one query, exhaustive, "
    "with its post-processing; pair us: that by reference; recorded rows: as their authors "
    "measured.",
    "model MB: parameters and buffers; embed MB: the most resident memory (of a GPU: allocated) "
    "that embedding one image adds, libraries' lasting buffers left out; -: not known.",
)


def split_in_words(dataset: Dataset) -> str:
    """What is searched in what, how many have a match, and what counts as right."""
    without = len(dataset.queries) - dataset.matched
    words = (
        f"{dataset.protocol}; {len(dataset.references)} references, {len(dataset.queries)} "
        f"queries, {dataset.matched} with a match and {without} without; correct is "
        f"{dataset.tolerance}"
    )
    if without and dataset.all_queries:
        return f"{words}; Recall@N counts all queries, the curves those with a match"
    return f"{words}; queries without a match are left out" if without else words


def protocol_in_words(dataset: Dataset, search: Search) -> str:
    """The same with the resolution of the search."""
    words = split_in_words(dataset)
    if search.resolution:
        words += f"; input {search.resolution}"
    return words
