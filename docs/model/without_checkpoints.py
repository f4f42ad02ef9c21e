# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Host state without checkpoints: it belongs to the subtask on its host (rules H and W)."""
from search import Violation, put

DEAD_NODE, LOST = 0, 'LOST'
INC, OTOK, OPROC, ORIGIN, SEQ, VAL, BUSY = range(7)         # of a host
NODE, PINC, OPEN, TOK, POS, PVAL, SENT, UP, DOWN = range(9)  # of an operator process
NOBODY = (-1, 0, 0, 0, 0, (), 0, (), ())


class Off:
    """One subtask without checkpoints; its state is a counter of one key.

    A value is the list of the offsets that were counted, so that lost and counted
    twice cannot cancel out; the number that is printed is its length.

    state = (fsm, views, hosts, procs, net, ghost)
      fsm     (newest token, token, target (node, incarnation, process[, position]) or None,
              home None | (node, incarnation, origin) | LOST, registered incarnation by node)
      views   the last fsm states: a host acts on any of them, however old
      hosts   (incarnation or 0 = dead, owner's token, owner's process, origin, last_seq, value,
              flush in progress None | (process, token, seq, value)), and the number of starts
      procs   (node, incarnation, open?, token, position, copy, frames sent, frames up, messages down)
              of its newest stream; frames of a stream that has ended may still be read by its host
      net     RegisterNode proposals under way: applied at any time, any number of times, or never
      ghost   (numbers printed, value of the last acknowledged flush, end of the input as read,
              node silent: it was declared lost while it lived)
    """
    checks = ('goal',)

    def __init__(self, cfg, mut=None):
        self.c, self.mut = cfg, mut

    def initial(self):
        c = self.c
        fsm = (0, 0, None, None, (1,) * c['hosts'])
        hosts = tuple((1, 0, -1, 0, 0, (), None, 1) for _ in range(c['hosts']))
        return (fsm, (fsm,), hosts, (NOBODY,) * c['procs'], frozenset(), ((), (), 0))

    def commit(self, st, fsm):
        views = st[1] if fsm == st[0] else (st[1] + (fsm,))[-(self.c['lag'] + 1):]
        net = st[4] if self.mut else frozenset(p for p in st[4] if p[0] != 'R' or p[3] == fsm[4][p[1]])
        return (fsm, views, st[2], st[3], net, st[5])

    def succ(self, st):
        """Yields (label, fault-free?, next state)."""
        yield from self.prune(self.log_steps(st))
        for h in range(len(st[2])):
            yield from self.prune(self.host_steps(st, h))
        for p in range(len(st[3])):
            yield from self.proc_steps(st, p)

    def prune(self, steps):
        """Without the views that no host would act on."""
        for text, good, st in steps:
            if len(st[1]) > 1:
                old = tuple(v for v in st[1][:-1] if any(self.acts(st, h, v) for h in range(len(st[2]))))
                st = (st[0], old + st[1][-1:]) + st[2:]
            yield text, good, st

    def acts(self, st, h, v):
        x = st[2][h]
        if not x[INC]:
            return False
        return v[1] > x[OTOK] and (x[ORIGIN] > 0 or self.mine(h, x, v[3])) or v[4][h] != x[INC] and st[0][4][h] != x[INC]

    def mine(self, h, x, home):
        return home not in (None, LOST) and home[0] == h and (home[1] == x[INC] or self.mut == 'restart_claims')

    # -- what the log applies
    def log_steps(self, st):
        (ntok, tok, who, home, reg), hosts, procs = st[0], st[2], st[3]
        if home == LOST:
            return
        if ntok < self.c['tokens']:
            for p, x in enumerate(procs):
                h, inc = x[NODE], x[PINC]
                if h < 0 or not self.may_assign(h, inc, home, reg):
                    continue
                new = (h, inc, p) + ((st[5][2],) if self.mut == 'latest_early' else ())
                hm = (h, inc, ntok + 1) if home is None or self.mut == 'assign_elsewhere' and home[:2] != (h, inc) else home
                live = x[OPEN] == 1 and hosts[h][INC] == inc
                yield ('Assign %d to process %d on node %d (incarnation %d)' % (ntok + 1, p, h, inc), live,
                       self.commit(st, (ntok + 1, ntok + 1, new, hm, reg)))
            if tok and who and self.c['fences']:
                hm = None if self.mut == 'fence_drops_home' else home
                yield ('FailSubtask fences with %d' % (ntok + 1), False, self.commit(st, (ntok + 1, ntok + 1, None, hm, reg)))
        for pr in sorted(st[4]):
            if pr[0] == 'L':
                if home and home[0] == pr[1]:
                    yield ('late LoseHome of node %d' % pr[1], True, self.lose(st, reg))
                continue
            _, h, inc, prev = pr
            if reg[h] == inc or reg[h] != prev and self.mut != 'register_late':
                continue
            r2 = put(reg, h, inc)
            text = 'RegisterNode(node %d, incarnation %d)' % (h, inc)
            if home and home[0] == h and home[1] != inc and self.mut not in ('register_loses_nothing', 'restart_claims'):
                yield (text + ': STATE_LOST', True, self.lose(st, r2))
            else:
                yield (text, True, self.commit(st, (ntok, tok, who, home, r2)))
        if home and self.mut not in ('register_loses_nothing', 'restart_claims', 'no_lose_home'):
            dead = hosts[home[0]][INC] != home[1]
            if dead or self.c['silent']:
                yield ('node %d is silent: LoseHome' % home[0], dead, self.lose(st, reg, silent=True))
        if self.mut == 'lose_by_node':
            for h, x in enumerate(hosts):
                if x[INC] == DEAD_NODE:
                    yield ('the leader finds node %d silent' % h, True, st[:4] + (st[4] | {('L', h)},) + st[5:])

    def may_assign(self, h, inc, home, reg):
        if reg[h] != inc and self.mut != 'assign_unregistered':
            return False  # H2
        if home is None or self.mut == 'assign_elsewhere':
            return True
        return home[0] == h if self.mut == 'restart_claims' else home[:2] == (h, inc)  # W1

    def lose(self, st, reg, silent=False):
        """W3: the home becomes LOST, the subtask is fenced, the job is suspended."""
        ntok, _, _, home, _ = st[0]
        if st[2][home[0]][INC] == home[1] and not (silent and self.c['silent']):
            raise Violation('STATE_LOST, but the process that has the state lives')
        return self.commit(st, (ntok + 1, ntok + 1, None, LOST, reg))

    # -- what a host does
    def host_steps(self, st, h):
        fsm, views, hosts, procs, net, gh = st
        x = hosts[h]
        upd = lambda y, pr=None, g=None: (fsm, views, put(hosts, h, y), procs if pr is None else pr, net, gh if g is None else g)
        deaths = sum(y[7] - (y[INC] != DEAD_NODE) for y in hosts)
        if x[INC] == DEAD_NODE:
            # A node may stay dead for ever, but without a home somebody has to start one.
            yield ('node %d starts' % h, fsm[3] is None, upd((x[7] + 1, 0, -1, 0, 0, (), None, x[7] + 1)))
            return
        if deaths < self.c['crashes']:
            yield ('node %d dies' % h, False, upd((0, 0, -1, 0, 0, (), None, x[7])))
        for v in views:
            if v[4][h] != x[INC] and fsm[4][h] != x[INC] and ('R', h, x[INC], v[4][h]) not in net:
                yield ('node %d proposes RegisterNode' % h, True, st[:4] + (net | {('R', h, x[INC], v[4][h])},) + st[5:])
        if x[BUSY] is not None:
            yield self.finish(h, x, upd, st)
        if x[BUSY] is None or self.mut in ('switch_while_applying', 'ack_early'):
            for v in views:
                y, pr = self.follow(h, x, v, procs, gh)
                if y != x:
                    y = put(y, BUSY, None) if self.mut == 'ack_early' else y
                    yield ('node %d follows its FSM to token %d' % (h, v[1]), True, upd(y, pr))
        if x[BUSY] is None:
            for p, q in enumerate(procs):
                if q[UP] and q[NODE] == h and q[PINC] == x[INC]:
                    yield self.take(st, h, x, p, q, upd)

    def follow(self, h, x, v, procs, gh):
        """H4 and W2: the host moves the owner to what a view of its FSM shows."""
        tok, who, home = v[1], v[2], v[3]
        if tok <= x[OTOK]:
            return x, procs
        if not self.mine(h, x, home):  # a host that has nothing of the subtask has nothing to do
            return (x[:OTOK] + (tok, -1, 0, 0, ()) + x[BUSY:] if x[ORIGIN] else x), procs
        here = who is not None and who[0] == h and (who[1] == x[INC] or self.mut == 'restart_claims')
        q = procs[who[2]] if here else None
        if not here or not (q[OPEN] and q[NODE] == h and q[PINC] == x[INC]):
            return x[:OTOK] + (tok, -1) + x[ORIGIN:], procs
        val = x[VAL] if x[ORIGIN] == home[2] else ()
        if self.mut == 'state_of_stream' or self.mut == 'origin_is_attempt' and x[ORIGIN] != tok:
            val = ()
        if len(val) < len(gh[1]) or val[:len(gh[1])] != gh[1]:
            raise Violation('taken back: attempt %d begins at number %d, %d is acknowledged' % (tok, len(val), len(gh[1])))
        seq = x[SEQ] if self.mut == 'seq_kept' else 0
        origin = tok if self.mut == 'origin_is_attempt' else home[2]
        q = put(q, DOWN, q[DOWN] + (('A', tok, val) + who[3:],))
        return x[:OTOK] + (tok, who[2], origin, seq, val) + x[BUSY:], put(procs, who[2], q)

    def take(self, st, h, x, p, q, upd):
        """H3: a frame is served only for the owner."""
        (tok, seq, val), rest = q[UP][0], q[UP][1:]
        pr = put(st[3], p, put(q, UP, rest))
        if (tok, p) != (x[OTOK], x[OPROC]) and self.mut != 'old_token':
            if not (self.mut == 'token_only' and tok == x[OTOK] or self.mut == 'stream_only' and p == x[OPROC]):
                return ('node %d drops a flush of token %d' % (h, tok), True, upd(x, pr))
        if seq <= x[SEQ] and self.mut == 'seq_kept':
            return self.answer('node %d takes seq %d for a duplicate' % (h, seq), st, p, tok, val, upd(x, pr))
        y = put(x, BUSY, (p, tok, seq, val))
        nx = upd(y, pr)
        text = 'node %d begins to apply flush %d of token %d' % (h, seq, tok)
        return self.answer(text, st, p, tok, val, nx) if self.mut == 'ack_early' else (text, True, nx)

    def answer(self, text, st, p, tok, val, nx):
        """FlushAck goes down, if the stream is still there."""
        q = nx[3][p]
        if q[OPEN]:
            nx = nx[:3] + (put(nx[3], p, put(q, DOWN, q[DOWN] + (('K', tok, len(val)),))),) + nx[4:]
        return (text, True, nx[:5] + ((nx[5][0], val, nx[5][2]),))

    def finish(self, h, x, upd, st):
        p, tok, seq, val = x[BUSY]
        if val[:-1] != x[VAL]:
            raise Violation('a flush of token %d makes %s of %s' % (tok, val, x[VAL]))
        if len(val) > 1 and val[-1] <= val[-2]:
            raise Violation('counted twice: %s' % (val,))
        same = (tok, p) == (x[OTOK], x[OPROC])
        y = x[:SEQ] + (seq if same else x[SEQ], val, None) + x[7:]
        if self.mut == 'ack_early':
            return ('node %d has applied flush %d of token %d' % (h, seq, tok), True, upd(y))
        return self.answer('node %d has applied flush %d of token %d, FlushAck' % (h, seq, tok), st, p, tok, val, upd(y))

    # -- what an operator process does
    def proc_steps(self, st, p):
        fsm, views, hosts, procs, net, gh = st
        x = procs[p]
        upd = lambda y, g=None: (fsm, views, hosts, put(procs, p, y), net, gh if g is None else g)
        up = x[NODE] >= 0 and hosts[x[NODE]][INC] == x[PINC]
        if x[OPEN] and not up:
            yield ('process %d loses its stream with node %d' % (p, x[NODE]), True, upd(put(x, OPEN, 0)[:TOK] + NOBODY[TOK:]))
            return
        if x[OPEN]:
            stale = x[TOK] != fsm[1]
            if stale or self.c['breaks']:
                y = x[:OPEN] + (0, 0, 0, (), 0, x[UP], ())
                yield ('process %d dies, or its stream breaks' % p, stale, upd(y))
        else:
            if x[UP]:
                yield ('the host gives up what is left of the stream of process %d' % p, True, upd(put(x, UP, ())))
            else:
                home = fsm[3]
                for h, y in enumerate(hosts):
                    if y[INC] and (home in (None, LOST) or home[0] == h or self.mut == 'assign_elsewhere'):  # W6
                        yield ('process %d connects to node %d' % (p, h), True, upd((h, y[INC], 1) + NOBODY[TOK:]))
            return
        if x[DOWN]:
            m, rest = x[DOWN][0], x[DOWN][1:]
            if m[0] == 'A':
                pos = m[3] if len(m) > 3 else gh[2]  # W5
                yield ('process %d has Assign %d, begins at %d with number %d' % (p, m[1], pos, len(m[2])), True,
                       upd(x[:TOK] + (m[1], pos, m[2], 0, x[UP], rest)))
            elif m[1] != x[TOK]:
                yield ('process %d ignores a FlushAck of token %d' % (p, m[1]), True, upd(put(x, DOWN, rest)))
            else:
                if m[2] in gh[0]:
                    raise Violation('number %d is printed twice' % m[2])
                printed = tuple(sorted(gh[0] + (m[2],)))
                yield ('process %d prints %d' % (p, m[2]), True, upd(put(x, DOWN, rest), (printed, gh[1], gh[2])))
        in_flight = x[SENT] - (len(x[PVAL]) and sum(1 for n in gh[0] if n > len(x[PVAL]) - x[SENT]))
        if x[TOK] and x[POS] < self.c['records'] and in_flight < self.c['window']:
            val = x[PVAL] + (x[POS],)
            yield ('process %d counts record %d, flushes number %d' % (p, x[POS], len(val)), True,
                   upd(x[:POS] + (x[POS] + 1, val, x[SENT] + 1, x[UP] + ((x[TOK], x[SENT] + 1, val),), x[DOWN]),
                       (gh[0], gh[1], max(gh[2], x[POS] + 1))))

    # -- progress
    def goal(self, st):
        """The job is suspended, or all that was left of the input is counted by the current attempt."""
        (_, tok, who, home, _), procs = st[0], st[3]
        if home == LOST:
            return True
        x = procs[who[2]] if who else NOBODY
        return bool(tok and x[TOK] == tok and x[POS] == self.c['records'] and not x[UP] and not x[DOWN]
                    and st[2][x[NODE]][BUSY] is None)

    def judged(self, st, check):
        return st[0][0] < self.c['tokens']  # an attempt is left
