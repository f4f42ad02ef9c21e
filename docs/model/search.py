# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Explicit-state search: breadth-first, so that the first trace found is a shortest one."""
import sys
from array import array


class Violation(Exception):
    """An invariant does not hold in a step."""


def put(t, i, v):
    """The tuple t with v at i."""
    return t[:i] + (v,) + t[i + 1:]


class Result:
    """What a search found: a violation with its trace, or none."""

    def __init__(self, states, steps, depth, complete, violation=None, trace=()):
        self.states, self.steps, self.depth, self.complete = states, steps, depth, complete
        self.violation, self.trace = violation, trace


def check(model, limit=None):
    """Searches breadth-first, then asks every state for progress."""
    init = model.initial()
    index, states = {init: 0}, [init]
    parent, label, depth = array('i', [-1]), [''], array('H', [0])
    src, dst = array('I'), array('I')
    edge = getattr(model, model.checks[0]) if model.checks[0] == 'completes' else None
    reached = set()
    steps, i = 0, 0

    def trace(j):
        out = []
        while j > 0:
            out.append(label[j])
            j = parent[j]
        return out[::-1]

    while i < len(states):
        st = states[i]
        try:
            for text, good, nx in model.succ(st):
                steps += 1
                j = index.setdefault(nx, len(states))
                if j == len(states):
                    states.append(nx)
                    parent.append(i)
                    label.append(sys.intern(text))
                    depth.append(depth[i] + 1)
                if good:
                    src.append(i)
                    dst.append(j)
                    if edge and edge(st, nx):
                        reached.add(i)
        except Violation as v:
            return Result(len(states), steps, depth[i] + 1, False, str(v), trace(i) + ['=> ' + str(v)])
        i += 1
        if limit and i >= limit:
            return Result(len(states), steps, depth[i], False)
    for name in model.checks:
        ok = reached if name == 'completes' else {q for q, s in enumerate(states) if getattr(model, name)(s)}
        able = backwards(len(states), src, dst, ok)
        bad = next((q for q in range(len(states)) if not able[q] and model.judged(states[q], name)), -1)
        if bad >= 0:
            text = {'goal': 'stuck: the input is never counted and the job not suspended',
                    'completes': 'stuck: no checkpoint completes', 'clean': 'a file that nothing names stays for ever'}[name]
            return Result(len(states), steps, depth[bad], True, text, trace(bad) + ['=> ' + text])
    return Result(len(states), steps, depth[-1], True)


def backwards(n, src, dst, ok):
    """Which states reach one of ok by the steps src -> dst."""
    first = array('I', [0]) * (n + 1)
    for d in dst:
        first[d + 1] += 1
    for q in range(n):
        first[q + 1] += first[q]
    fill, froms = array('I', first), array('I', [0]) * len(src)
    for a, b in zip(src, dst):
        froms[fill[b]] = a
        fill[b] += 1
    able, work = bytearray(n), list(ok)
    for q in work:
        able[q] = 1
    while work:
        d = work.pop()
        for k in range(first[d], first[d + 1]):
            if not able[froms[k]]:
                able[froms[k]] = 1
                work.append(froms[k])
    return able
