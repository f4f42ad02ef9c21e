#!/usr/bin/env python3
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Explicit-state model of host state: the working state of the filesystem and rocksdb backends.

  python3 host_state_model.py                    every configuration, then every mutation
  python3 host_state_model.py --config off-home  one configuration
  python3 host_state_model.py --mutation NAME    break a rule, print the shortest trace that shows it
  python3 host_state_model.py --list             configurations and mutations

The exit code is 0 if every configuration holds and every mutation is caught (or is
one that is documented as harmless), 1 if not. The search is breadth-first, so the
first trace found is a shortest one. README.md has the rules; numbers such as W3 are
theirs. Standard library only.
"""
import argparse
import sys
import time

sys.dont_write_bytecode = True

from search import check
from with_checkpoints import On
from without_checkpoints import Off

OFF = dict(model=Off, hosts=2, procs=2, tokens=3, records=3, window=1, crashes=1, lag=1, silent=False, breaks=True, fences=False)
ON = dict(model=On, hosts=2, subtasks=1, tokens=2, checkpoints=3, records=2, retained=1, lag=1, incremental=True,
          copies=False, crash=False, cancel=False, late=False, uploads=1, compacts=False)

CONFIGS = {
    'off-home': (OFF, dict(crashes=0, fences=True), 'two nodes that live, 3 attempts or fences, 3 records'),
    'off-window': (OFF, dict(crashes=0, window=2, hosts=1, records=4, tokens=2), 'one node that lives, two flushes in flight, 4 records'),
    'off-death': (OFF, dict(records=2, tokens=2), 'two nodes, one death, 2 attempts'),
    'off-crash': (OFF, dict(hosts=1, crashes=2, records=2, tokens=2), 'one node that dies twice'),
    'off-silent': (OFF, dict(crashes=0, silent=True, records=2), 'a node that lives is declared lost'),
    'on-full': (ON, dict(incremental=False), 'one subtask, 2 attempts, 3 checkpoints, full snapshots'),
    'on-incr': (ON, {}, 'the same, incremental'),
    'on-attempts': (ON, dict(tokens=3, checkpoints=2), '3 attempts, 2 checkpoints'),
    'on-compacts': (ON, dict(compacts=True, records=1), 'the same as on-incr; a cut may also be all new'),
    'on-retain': (ON, dict(retained=2), '2 attempts, 3 checkpoints, two retained'),
    'on-uploads': (ON, dict(uploads=2, records=1), 'two uploads of a host at a time'),
    'on-copies': (ON, dict(copies=True, lag=0, tokens=3, checkpoints=2, records=1), 'local copies'),
    'on-late': (ON, dict(late=True, crash=True, checkpoints=2), 'deaths; requests to the storage are executed late, also of dead processes'),
    'on-two': (ON, dict(subtasks=2, hosts=1, checkpoints=2, records=1), 'two subtasks, assigned one by one or by one entry'),
    'on-cancel': (ON, dict(cancel=True, checkpoints=2), 'the job is cancelled at any time'),
}

MUTATIONS = {  # name: (configuration, what is broken); harmless ones say so
    'state_of_stream': ('off-home', 'W2: the state belongs to the stream; a new attempt opens empty'),
    'assign_elsewhere': ('off-home', 'W1: an Assign to another host is applied and makes a new home'),
    'origin_is_attempt': ('off-home', 'W2: the host keeps the state under the attempt in place of the origin'),
    'fence_drops_home': ('off-home', 'W1: FailSubtask forgets the home'),
    'old_token': ('off-home', 'H3: the host takes a flush of any token on any stream'),
    'stream_only': ('off-home', 'H3: the host looks at the stream alone; an old frame is before the new Assign on it'),
    'token_only': ('off-home', 'H3: the host looks at the token alone'),
    'switch_while_applying': ('off-home', 'H4: the owner moves while a flush of the old one is applied'),
    'ack_early': ('off-home', 'H5: FlushAck is sent before the flush is applied, and the owner may move in between'),
    'seq_kept': ('off-home', 'H5: a new owner begins with the last_seq of the old one'),
    'restart_claims': ('off-death', 'W1: the home is the node, whatever process it runs'),
    'register_loses_nothing': ('off-death', 'W3: nothing makes a home LOST'),
    'no_lose_home': ('off-death', 'W3: only RegisterNode makes a home LOST, the leader has no timer'),
    'latest_early': ('off-home', 'W5: the position rides in the Assign'),
    'register_late': ('off-crash', 'H1: RegisterNode without `previous`; one of a dead process is applied late'),
    'lose_by_node': ('off-crash', 'W3: LoseHome names the node alone; a late one is applied'),
    'assign_unregistered': ('off-crash', 'H2: an Assign may name an incarnation that is not the registered one'),
    'ack_old_token': ('on-incr', 'C7: acks of any token'),
    'assign_keeps_pending': ('on-two', 'an Assign leaves the pending checkpoint alive'),
    'ack_before_upload': ('on-incr', 'C7: the ack is proposed before its file is durable'),
    'reuse_aborted': ('on-incr', 'C6: files of the last cut are reused, whatever became of it'),
    'reuse_r': ('on-compacts', 'C6: files of r are reused, also when r has been subsumed'),
    'shared_not_counted': ('on-incr', 'C8: all files of what is subsumed are deleted, those of retained ones too'),
    'subsumed_before_entry': ('on-full', 'C8: the old files are deleted when the ack of the next one is proposed'),
    'no_list': ('on-cancel', 'C8: no list of deletions; what is subsumed is collected as orphans are'),
    'collect_by_age': ('on-incr', 'C9: every file that no completed checkpoint names is an orphan'),
    'delete_when_unanswered': ('on-incr', 'C9: a host deletes its files when its ack has not been answered'),
    'no_collector': ('on-incr', 'C9: orphans are not collected'),
    'name_is_number': ('on-incr', 'C5: names are counted by the host, as those of SST files'),
    'name_no_checkpoint': ('on-incr', 'C5: names without the checkpoint'),
    'name_no_token': ('on-incr', 'C5: names without the token'),
    'name_no_subtask': ('on-two', 'C5: names without the subtask; one Assign gives several the same token'),
    'copy_any': ('on-copies', 'C1: any local copy is taken for r'),
    'copy_by_id': ('on-copies', 'C1: a local copy is known by the checkpoint alone'),
    'restart_reopens': ('on-late', 'H1: a process that starts opens what an Assign gave to the one before'),
}
HARMLESS = {'token_only', 'no_list'}  # mutations that are not caught: README.md says why


def make(name, mut=None):
    base, over, _ = CONFIGS[name]
    cfg = dict(base, **over)
    return cfg['model'](cfg, mut)


def run_config(name, limit):
    t0 = time.time()
    r = check(make(name), limit)
    for k, line in enumerate(r.trace, 1):
        print('%4d  %s' % (k, line))
    verdict = 'FAILED: ' + r.violation if r.violation else 'OK, complete' if r.complete else 'OK so far, partial'
    print('| `%s` | %d | %d | %d | %s | %.0f s |' % (name, r.states, r.steps, r.depth, verdict, time.time() - t0), flush=True)
    return r.violation is None


def run_mutation(name, limit, config=None, show=True):
    t0 = time.time()
    config = config or MUTATIONS[name][0]
    r = check(make(config, name), limit)
    if show:
        print('%s (%s): %s' % (name, config, MUTATIONS[name][1]))
        for k, line in enumerate(r.trace, 1):
            print('%4d  %s' % (k, line))
    what = r.violation or ('NOT CAUGHT' if r.complete else 'NOT CAUGHT, partial')
    print('| `%s` | %s | %s | %s | %d | %.0f s |' % (
        name, config, what, len(r.trace) if r.violation else '-', r.states, time.time() - t0), flush=True)
    return (r.violation is None) == (name in HARMLESS)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument('--config', choices=list(CONFIGS), metavar='NAME')
    ap.add_argument('--mutation', choices=list(MUTATIONS), metavar='NAME')
    ap.add_argument('--list', action='store_true')
    ap.add_argument('--limit', type=int, help='stop after so many states; the result is then partial')
    a = ap.parse_args()
    if a.list:
        for name, (_, _, text) in CONFIGS.items():
            print('config   %-24s %s' % (name, text))
        for name, (config, text) in MUTATIONS.items():
            print('mutation %-24s [%s] %s' % (name, config, text))
        return 0
    if a.mutation:
        return 0 if run_mutation(a.mutation, a.limit, a.config) else 1
    good = all([run_config(name, a.limit) for name in ([a.config] if a.config else CONFIGS)])
    if not a.config:
        good = all([run_mutation(name, a.limit, show=False) for name in MUTATIONS]) and good
    print('OK' if good else 'FAILED')
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
