"""What the programs do. Not in programs/: a process that measures imports no more than it needs."""

from __future__ import annotations

from typing import NamedTuple


class Program(NamedTuple):
    what: str
    heavy: bool  # lives from the heap: its RSS after the peak is of interest. Others must only not get slower


PROGRAMS = {
    "graph": Program("a graph of a million objects, built and dropped", True),
    "json_document": Program("a large document to text and back", True),
    "dicts_tuples": Program("dicts of tuples that grow, are joined, and shrink", True),
    "strings": Program("text of many lengths: made, split, joined, kept for a while", True),
    "growth": Program("a bytearray and a list that grow to a gigabyte", True),
    "pickle_graph": Program("graphs of objects to bytes and back", True),
    "lru_cache": Program("a cache that forgets the oldest entry, each tenth one cyclic", True),
    "web": Program("requests and responses: headers, JSON, templates, cyclic references", True),
    "binary_trees": Program("trees of many sizes, made and dropped beside one that stays", True),
    "deepcopy": Program("copy.deepcopy of nested settings", True),
    "constraints": Program("one-way constraints over chains of variables, replanned and run", False),
    "scheduler": Program("tasks that pass packets to each other under a scheduler", False),
    "nbody": Program("the sun and four planets, in floats", False),
    "fannkuch": Program("all permutations, and how often each one flips", False),
    "board": Program("games of Go on 9 by 9 fields, played at random with captures", False),
    "lzw": Program("text compressed bit by bit and decoded again", False),
    "raytrace": Program("spheres over a floor, in objects for vectors", False),
    "chaos": Program("the chaos game along a spline", False),
    "logging_calls": Program("log records that are formatted, and some that are not", False),
    "spectral_norm": Program("the norm of a matrix that is never written down", False),
    "regex": Program("searches, substitutions and splits by re", False),
    "unpack": Program("sequences unpacked to names", False),
    "generators": Program("a tree of coroutines, driven by hand", False),
}
