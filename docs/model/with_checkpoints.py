# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Host state with checkpoints: it belongs to the attempt, and its files to checkpoints (rules H and C)."""
from search import Violation, put

# Mutations under which what is pruned elsewhere can still do harm.
STALE_ACKS = {'ack_old_token', 'ack_before_upload', 'assign_keeps_pending'}
NO_BASE_CHECK = {'reuse_r', 'reuse_aborted', 'name_is_number'}
NAMES = {'name_is_number', 'name_no_checkpoint'}

W_TOK, W_R, W_FROM, W_POS, W_STATE, W_BAR, W_CUTS = range(7)


class On:
    """Subtasks with checkpoints. A state is the list of the offsets in it, a file has a part of that list.

    state = (fsm, views, hosts, storage, net, puts)
      fsm     (newest token, ((token, node, r) by subtask), next id, pending None | (n, base, ack by subtask),
              retained ((n, (ack by subtask)), ...) newest last, deletions, ended?)
              an ack is (token, position, files)
      views   the last fsm states without acks of the pending one: anyone acts on any of them
      hosts   (working state by subtask, uploads under way, local copies, newest token before its start:
              no stream of it is of this process)
              working = None | (token, r, ack of r, position, state or None = not restored yet, newest barrier,
              its newest cut (in one mutation only))
              upload = (subtask, token, n, base, position, files, new file or None, its content)
      storage ((name, content), ...)
      net     acks under way (subtask, token, n, base, position, files)
      puts    requests to the storage that may still be executed (late ones)
    """
    checks = ('completes', 'clean')

    def __init__(self, cfg, mut=None):
        self.c, self.mut = cfg, mut
        self.n = cfg['subtasks']

    def initial(self):
        fsm = (1, tuple((1, 0, 0) for _ in range(self.n)), 1, None, (), frozenset(), 0)
        work = tuple((1, 0, None, 0, (), 0, None) for _ in range(self.n))
        hosts = ((work, (), frozenset(), 0),) + (((None,) * self.n, (), frozenset(), 0),) * (self.c['hosts'] - 1)
        return (fsm, (self.view(fsm),), hosts, (), frozenset(), frozenset())

    @staticmethod
    def view(f):
        return f[:3] + (f[3] and f[3][:2],) + f[4:]

    def commit(self, st, fsm, net=None):
        v = self.view(fsm)
        views = st[1] if v == st[1][-1] else (st[1] + (v,))[-(self.c['lag'] + 1):]
        net = st[4] if net is None else net
        if self.mut not in STALE_ACKS:
            net = frozenset(a for a in net if a[1] == fsm[1][a[0]][0] and fsm[3] and fsm[3][0] == a[2] and not fsm[3][2][a[0]])
        return self.sound((fsm, views, st[2], st[3], net, st[5]))

    def sound(self, st):
        """Files and versions: each file that a retained or pending ack names is there, and gives the fold."""
        f, store = st[0], dict(st[3])
        acks = [(n, s, a) for n, by in f[4] for s, a in enumerate(by)]
        acks += [(f[3][0], s, a) for s, a in enumerate(f[3][2]) if a] if f[3] else []
        for n, s, (tok, pos, files) in acks:
            missing = [x for x in files if x not in store]
            if missing:
                raise Violation('file %s of checkpoint %d is gone' % (self.text(missing[0]), n))
            if sum((store[x] for x in files), ()) != self.fold(s, 0, pos):
                raise Violation('checkpoint %d of subtask %d is not the fold of its records before %d' % (n, s, pos))
        return st

    @staticmethod
    def fold(s, start, end):
        """What the records of subtask s from start to end make of the state."""
        return tuple(range(10 * s + start, 10 * s + end))

    @staticmethod
    def text(name):
        return '-'.join(str(x) for x in name)

    def succ(self, st):
        yield from self.log_steps(st)
        for h in range(len(st[2])):
            for s in range(self.n):
                yield from self.subtask_steps(st, h, s)
            yield from self.host_steps(st, h)
        yield from self.storage_steps(st)

    # -- what the log applies
    def log_steps(self, st):
        f = st[0]
        ntok, subs, nid, pend, comp, dels, ended = f
        if not ended:
            if pend is None and nid <= self.c['checkpoints']:
                base = comp[-1][0] if comp else 0
                yield ('Begin %d, base %d' % (nid, base), True,
                       self.commit(st, (ntok, subs, nid + 1, (nid, base, (None,) * self.n), comp, dels, 0)))
            if pend:
                yield ('ABORTED(%d)' % pend[0], True, self.commit(st, (ntok, subs, nid, None, comp, dels, 0)))
            if ntok < self.c['tokens']:
                for h in range(len(st[2])):
                    for ss in ((0,),) if self.n == 1 else ((0,), (0, 1)):
                        yield self.assign(st, ss, h)
            if self.c['cancel']:
                gone = frozenset(x for _, by in comp for a in by for x in a[2] if self.mut != 'no_list')
                s2 = tuple((ntok + 1, -1, 0) for _ in subs)
                yield ('cancel', False, self.commit(st, (ntok + 1, s2, nid, None, (), dels | gone, 1)))
        for a in sorted(st[4]):
            r = self.ack(st, a)
            if r:
                yield r
        if dels and not dels & {x for x, _ in st[3]}:
            yield ('FilesDeleted', True, self.commit(st, (ntok, subs, nid, pend, comp, frozenset(), ended)))

    def assign(self, st, ss, h):
        ntok, subs, nid, pend, comp, dels, _ = st[0]
        r = comp[-1][0] if comp else 0
        for s in ss:
            subs = put(subs, s, (ntok + 1, h, r))
        keep = pend if self.mut == 'assign_keeps_pending' else None
        return ('Assign %d of subtask %s to node %d, r = %d' % (ntok + 1, ','.join(map(str, ss)), h, r), True,
                self.commit(st, (ntok + 1, subs, nid, keep, comp, dels, 0)))

    def ack(self, st, a):
        """C7 and C8: an ack is judged when its entry is applied."""
        ntok, subs, nid, pend, comp, dels, ended = st[0]
        s, tok, n, base, pos, files = a
        if pend is None or pend[0] != n or pend[2][s] or ended:
            return None
        if tok != subs[s][0] and self.mut not in ('ack_old_token',):
            return None
        basefiles = next((by[s][2] for m, by in comp if m == pend[1]), ())
        reused = [x for x in files if not self.own(x, a)]
        if self.mut not in NO_BASE_CHECK and (base != pend[1] or any(x not in basefiles for x in reused)):
            return None
        acks = put(pend[2], s, (tok, pos, files))
        if None in acks:
            return ('ack of %d by subtask %d, token %d' % (n, s, tok), True,
                    self.commit(st, (ntok, subs, nid, (n, pend[1], acks), comp, dels, 0)))
        for q, b in enumerate(acks):
            if b[0] != subs[q][0]:
                raise Violation('checkpoint %d completes behind a rollback: ack of token %d, current is %d' % (n, b[0], subs[q][0]))
        comp = comp + ((n, acks),)
        out, comp = comp[:-self.c['retained']], comp[-self.c['retained']:]
        named = {x for _, by in comp for b in by for x in b[2]} if self.mut != 'shared_not_counted' else ()
        if self.mut != 'no_list':
            dels = dels | {x for _, by in out for b in by for x in b[2] if x not in named}
        return ('ack of %d by subtask %d, token %d: COMPLETED(%d)' % (n, s, tok, n), True,
                self.commit(st, (ntok, subs, nid, None, comp, dels, 0)))

    def own(self, name, a):
        return name == self.name(a[0], a[1], a[2], len(a[5]) - 1)

    def name(self, s, tok, n, number):
        """C5."""
        if self.mut == 'name_is_number':
            return ('f', s, number)
        if self.mut == 'name_no_token':
            return ('f', s, n)
        if self.mut == 'name_no_checkpoint':
            return ('f', s, tok)
        if self.mut == 'name_no_subtask':
            return ('f', tok, n)
        return ('f', s, tok, n)

    # -- a subtask on a host: its stream, its working state
    def subtask_steps(self, st, h, s):
        fsm, views, hosts, store, net, puts = st
        work, ups, copies, floor = hosts[h]
        w = work[s]
        who = 'node %d, subtask %d: ' % (h, s)
        upd = lambda y, u=ups, cp=copies: (fsm, views, put(hosts, h, (put(work, s, y), u, cp, floor)), store, net, puts)
        for v in views:  # H4, C1
            tok, node, r = v[1][s]
            if tok <= (w[W_TOK] if w else floor) or not w and node != h:
                continue
            y = None
            if node == h:
                src = next((by[s] for n, by in v[4] if n == r), None)
                if r and src is None:
                    continue  # a newer entry took r out: this attempt is over
                y = (tok, r, src, 0, () if not r else None, 0, None)
            yield (who + 'follows its FSM to token %d' % tok, True, upd(y))
        if not w:
            return
        if w[W_STATE] is None:
            yield from self.restore(st, s, w, copies, who, upd)
            return
        if len([u for u in ups if u[0] == s]) < self.c['uploads']:
            for v in views:  # the barrier may run ahead of the closing
                if not v[3] or v[3][0] <= w[W_BAR]:
                    continue
                for pos in range(w[W_POS], self.c['records'] + 1):  # what was flushed since the last cut
                    x = w[:W_POS] + (pos, w[W_STATE] + self.fold(s, w[W_POS], pos)) + w[W_BAR:]
                    for full in (False, True) if self.c['compacts'] else (not self.c['incremental'],):
                        y, u, cp = self.cut(s, x, v, copies, full)
                        yield (who + 'cut of %d at %d, reuses %s' % (v[3][0], pos, [self.text(x) for x in u[5]]), True,
                               upd(y, tuple(sorted(ups + (u,), key=repr)), cp))

    def restore(self, st, s, w, copies, who, upd):
        tok, pos, files = w[W_FROM]
        done = lambda state, how: (who + 'restored %d from %s' % (w[W_R], how), True,
                                   upd(w[:W_POS] + (pos, self.right(s, w, state, pos)) + w[W_BAR:]))
        for cs, ct, cn, state in sorted(copies):
            if cs != s:
                continue
            if (ct, cn) == (tok, w[W_R]) or self.mut == 'copy_any' or self.mut == 'copy_by_id' and cn == w[W_R]:
                yield done(state, 'the local copy %d of token %d' % (cn, ct))
        store = dict(st[3])
        if all(x in store for x in files):
            yield done(sum((store[x] for x in files), ()), 'its files')
        elif w[W_TOK] == st[0][1][s][0]:
            raise Violation('the files of r = %d are gone' % w[W_R])

    def right(self, s, w, state, pos):
        if state != self.fold(s, 0, pos):
            raise Violation('attempt %d begins with %s at position %d' % (w[W_TOK], state, pos))
        return state

    def cut(self, s, w, v, copies, full):
        """C4 to C6."""
        n, base = v[3]
        reuse, start = (), 0
        if not full:
            src = next((by[s] for m, by in v[4] if m == base), None)
            if self.mut == 'reuse_r':
                src = w[W_FROM] if w[W_R] else None
            if self.mut == 'reuse_aborted':
                src = w[W_CUTS]
            reuse, start = (src[2], src[1]) if src else ((), 0)
        content = w[W_STATE][start:]
        name = self.name(s, w[W_TOK], n, len(reuse)) if content else None
        u = (s, w[W_TOK], n, base, w[W_POS], reuse, name, content)
        cuts = (n, w[W_POS], reuse + ((name,) if name else ())) if self.mut == 'reuse_aborted' else None
        cp = copies | {(s, w[W_TOK], n, w[W_STATE])} if self.c['copies'] else copies
        return w[:W_BAR] + (n, cuts), u, cp

    # -- a host: uploads, copies, its death
    def host_steps(self, st, h):
        fsm, views, hosts, store, net, puts = st
        work, ups, copies, floor = hosts[h]
        for i, u in enumerate(ups):
            s, tok, n, base, pos, reuse, name, content = u
            rest = put(hosts, h, (work, ups[:i] + ups[i + 1:], copies, floor))
            a = (s, tok, n, base, pos, reuse + ((name,) if name else ()))
            text = 'node %d: upload of %d by token %d is done, proposes the ack' % (h, n, tok)
            store2 = self.write(store, name, content)
            puts2 = puts | {(name, content)} if self.c['late'] and name else puts
            keep = self.mut in STALE_ACKS or tok == fsm[1][s][0] and fsm[3] and fsm[3][0] == n
            yield (text, True, self.sound((fsm, views, rest, store2, net | {a} if keep else net, puts2)))
            if self.mut == 'ack_before_upload':
                yield ('node %d proposes the ack of %d before its upload' % (h, n), True, (fsm, views, hosts, store, net | {a}, puts))
            if any(self.decided(v, n) for v in views):
                yield ('node %d gives up its upload of %d' % (h, n), True, (fsm, views, rest, store, net, puts))
        for v in views:
            old = frozenset(c for c in copies if self.decided(v, c[2]) and not any(c[2] == m for m, _ in v[4]))
            if old:
                yield ('node %d drops old local copies' % h, True,
                       (fsm, views, put(hosts, h, (work, ups, copies - old, floor)), store, net, puts))
        if self.c['crash'] and (any(work) or ups):
            late = {(u[6], u[7]) for u in ups if u[6]} if self.c['late'] else set()
            y = ((None,) * self.n, (), frozenset(), 0 if self.mut == 'restart_reopens' else fsm[0])
            yield ('node %d dies, starts again' % h, False, (fsm, views, put(hosts, h, y), store, net, puts | late))

    @staticmethod
    def decided(v, n):
        """v shows that n has its outcome."""
        return n < v[2] and not (v[3] and v[3][0] == n)

    @staticmethod
    def write(store, name, content):
        if name is None:
            return store
        return tuple(sorted([x for x in store if x[0] != name] + [(name, content)]))

    # -- the storage: late requests, deletions, orphans
    def storage_steps(self, st):
        fsm, views, hosts, store, net, puts = st
        for q in sorted(puts):
            yield ('a late PUT of %s is executed' % self.text(q[0]), False,
                   self.sound((fsm, views, hosts, self.write(store, *q), net, puts - {q})))
            yield ('no late PUT of %s' % self.text(q[0]), True, (fsm, views, hosts, store, net, puts - {q}))
        for name, _ in store:
            why = next((w for w in (self.deletable(v, name, st) for v in views) if w), None)
            if why:
                yield ('file %s is deleted: %s' % (self.text(name), why), True,
                       self.sound((fsm, views, hosts, tuple(x for x in store if x[0] != name), net, puts)))

    def deletable(self, v, name, st):
        """C8 and C9, by the view v of anyone."""
        if name in v[5]:
            return 'in the list of deletions'
        if self.mut == 'no_collector':
            return None
        named = any(name in a[2] for _, by in v[4] for a in by)
        if self.mut == 'subsumed_before_entry':  # deletes the base when the ack of the next one is proposed
            base = v[4][-1][1] if v[4] else ()
            if any(name in a[2] for a in base) and st[4] and not any(name in p[5] for p in st[4]):
                return 'the next checkpoint is on its way'
        if named:
            return None
        if self.mut == 'collect_by_age' or self.mut == 'delete_when_unanswered' and any(name in a[5] for a in st[4]):
            return 'nothing completed names it'
        if self.mut in NAMES:
            return 'an orphan' if not v[3] and not self.uploading(st, name) else None
        if self.decided(v, name[-1]):
            return 'an orphan'
        return None

    @staticmethod
    def uploading(st, name):
        return any(u[6] == name for h in st[2] for u in h[1])

    # -- progress
    def completes(self, a, b):
        return b[0][4] != a[0][4] and not b[0][6]

    def clean(self, st):
        f = st[0]
        named = {x for _, by in f[4] for a in by for x in a[2]}
        return f[3] is None and not f[5] and not st[5] and {x for x, _ in st[3]} == named and not any(h[1] for h in st[2])

    def judged(self, st, check):
        f = st[0]
        return check == 'clean' or not f[6] and f[2] <= self.c['checkpoints'] and (f[0] < self.c['tokens'] or not self.c['crash'])
