#ifndef ZABFS_BUG_H
#define ZABFS_BUG_H

/* Seeded bugs: what measures the tests. Each is a mistake that a system of this kind was shipped
 * with, or that the tests of this one must notice, and is put back by a switch in the one place
 * where the right code stands:
 *
 *     upto = BUG(B3_APPLY_BEFORE_DURABLE) ? commit : min_u64(commit, durable);
 *
 * Production has none: BUG() is then a constant 0 that the compiler removes. `cmake
 * -DZABFS_BUG=B3_APPLY_BEFORE_DURABLE` builds everything with one of them (not to be installed);
 * tests/sim/hunt has them all in one program and counts the simulated runs that each survives.
 * B1 to B26 are known bugs of other systems, X1 and up are our own guesses.
 *
 * X(id, what is wrong, where it was seen) */
#define BUG_LIST(X)                                                                                \
    X(B1_ACK_BEFORE_SYNC, "a follower acknowledges entries that its disk does not have yet",       \
      "ZOOKEEPER-4646, 4785")                                                                      \
    X(B2_EPOCH_BEFORE_HISTORY, "a candidate claims the newest epoch it heard of, not its log's",   \
      "ZOOKEEPER-4643, 3911")                                                                      \
    X(B3_APPLY_BEFORE_DURABLE, "committed entries are applied before the own disk has them",       \
      "ZOOKEEPER-4882")                                                                            \
    X(B4_GAP_ACCEPTED, "a follower takes what comes behind a gap for the continuation",            \
      "ZOOKEEPER-4925")                                                                            \
    X(B5_OLD_WRITER, "proposals of a leader that was deposed are still written", "ZOOKEEPER-4712") \
    X(B6_CUT_COMES_BACK, "TRUNC cuts in memory only: the disk keeps what was cut",                 \
      "ZOOKEEPER-4837")                                                                            \
    X(B7_COUNTS_WHILE_SYNCED, "a follower counts for what was proposed while it is synchronised",  \
      "Zab specification, issue 1")                                                                \
    X(B8_UNCOMMITTED_SERVED, "recovery takes the whole log for committed", "ZOOKEEPER-2845")       \
    X(B9_EMPTY_DISK_VOTES, "a member whose disk was replaced votes with its empty log",            \
      "ZOOKEEPER-2325, 3644")                                                                      \
    X(B10_SNAPSHOT_NOT_SYNCED, "the log goes before the snapshot is on disk", "ZOOKEEPER-2872")    \
    X(B11_CUT_AT_DAMAGE, "damage at the end of the log is taken for a torn write",                 \
      "Alagappan et al., FAST 2018")                                                               \
    X(B12_SYNC_RETRIED, "a failed sync is tried again, and its success believed",                  \
      "fsyncgate 2018")                                                                            \
    X(B13_READ_ID_REUSED, "an answer to an earlier read answers a later one", "etcd#20418")        \
    X(B14_SERVES_BEFORE_EPOCH, "a leader serves before an entry of its epoch is committed",        \
      "Raft dissertation 6.4")                                                                     \
    X(B15_RESTART_FORGETS_LEASE, "a voter that restarts forgets that it heard a leader",           \
      "etcd/raft, lease reads")                                                                    \
    X(B18_QUORUM_IN_SIGHT, "a leader's quorum is one of the followers in sight, not of all",       \
      "etcd#7280, 11284 (configuration)")                                                          \
    X(B19_OLD_DEADLINES, "a leader that comes back judges sessions by what it heard before",       \
      "etcd#15247")                                                                                \
    X(B20_DEAD_SESSION_WRITES, "a write of a closed session takes effect", "etcd#11408")           \
    X(B21_SNAPSHOT_LACKS_REPLIES, "a snapshot leaves out the replies that belong to its index",    \
      "etcd 3.5.0 (index apart from data)")                                                        \
    X(B22_LOCAL_LIMIT, "a member applies by its own limit instead of the entry's", "etcd#11651")   \
    X(B23_RETRY_REPEATS, "a write that is sent again takes effect again",                          \
      "ZooKeeper, ConnectionLoss on create")                                                       \
    X(B25_EVENTS_LOST, "a resumed session is not told that older events are gone", "etcd#19179")   \
    X(B26_SOLO_ANSWERS_EARLY, "a single member answers before its disk has the entry",             \
      "etcd#14370")                                                                                \
    X(X1_VOTE_NOT_DURABLE, "a vote is told before it is on disk", "Raft 3.8")                      \
    X(X2_LEASE_FROM_ANSWER, "the lease counts from the answer, not from the question",             \
      "Raft dissertation 6.4.1")                                                                   \
    X(X3_LEASE_WITHOUT_DRIFT, "the lease leaves no margin for drifting clocks",                    \
      "Gray and Cheriton 1989")                                                                    \
    X(X4_LEASE_NEVER_ENDS, "a leader answers reads alone without a look at its lease",             \
      "Consul, default consistency")                                                               \
    X(X5_OLD_EPOCH_COUNTED, "entries of an older epoch commit by counting alone", "Raft 5.4.2")    \
    X(X6_COMMIT_BEYOND_MATCH, "a follower commits own entries that are not known the leader's",    \
      "Raft figure 2, commitIndex")                                                                \
    X(X7_LONGEST_LOG_WINS, "votes compare the length of logs and not their last epoch",            \
      "Raft 5.4.1")                                                                                \
    X(X8_VOTE_UNDER_LEADER, "votes are given while a leader is heard", "Raft dissertation 6.4.1")  \
    X(X9_PLACE_NOT_COMPARED, "places in two logs are the same if their index is",                  \
      "Raft 5.3, prevLogTerm")                                                                     \
    X(X10_DAMAGE_FORGOTTEN, "a damaged member forgets how far its log had come",                   \
      "Alagappan et al., FAST 2018")                                                               \
    X(X11_OLD_ACKS_COUNT, "what a member acknowledged before it lost its disk still counts",       \
      "TigerBeetle, format and recover")                                                           \
    X(X12_ONE_COPY_OF_VOTE, "only one of the two files of the vote is written", "own")             \
    X(X13_LEFTOVERS_NOT_SYNCED, "what a killed process wrote but did not sync counts as durable",  \
      "etcd#14140")                                                                                \
    X(X14_BARRIER_NOT_APPLIED, "a barrier ends before the leader's index is applied here",         \
      "Raft dissertation 6.4, step 3")                                                             \
    X(X15_STALL_HELD_AGAINST, "a leader that stood still expires those it could not hear",         \
      "etcd#15247")                                                                                \
    X(X16_RESUMES_BEHIND, "a session resumes at a member that lacks what it has seen",             \
      "ZooKeeper, lastZxidSeen")                                                                   \
    X(X17_FLOOR_IGNORED, "a late copy of a request that nobody awaits takes effect",               \
      "Raft dissertation 6.3")                                                                     \
    X(X18_EVENT_AFTER_REPLY, "a reply overtakes the event of the change it shows",                 \
      "ZooKeeper, ordering of watches")                                                            \
    X(X19_LOCAL_CLOCK, "each member stamps what it applies with its own clock", "own")             \
    X(X20_EPHEMERAL_STAYS, "all but the first ephemeral outlive their session", "ZOOKEEPER-1208")  \
    X(X21_EPHEMERAL_OF_ANOTHER, "a session takes ephemerals of the next one along", "own")         \
    X(X22_TWO_HOLDERS, "an exclusive lock is granted beside a shared one", "own")                  \
    X(X23_FENCE_OF_QUESTION, "the fence of a lock that was waited for is that of the question",    \
      "Kleppmann 2016, how to do distributed locking")                                             \
    X(X24_NOBODY_WOKEN, "the end of a session frees its locks, and nobody that waits gets them",   \
      "own")                                                                                       \
    X(X25_LOCK_STAYS, "the end of a session leaves its locks", "own")                              \
    X(X26_OVERTAKES, "who asks for a lock overtakes those that wait", "own")                       \
    X(X27_MOVE_HEARD_BY_ONE, "a move is told only where it went to, not where it came from",       \
      "own")                                                                                       \
    X(X28_GROUP_TORN, "of the changes of one entry each session is told those it subscribed to",   \
      "own")                                                                                       \
    X(X29_APPEND_TWICE, "an append that is sent again is appended again", "Kafka, KIP-98")         \
    X(X30_RESUMES_LATE, "who resumes the stream of all changes misses the first", "own")           \
    X(X31_QUOTA_KEPT, "what a removed file took is not given back to the quota", "ZOOKEEPER-2559") \
    X(X32_RULE_IGNORED, "a numbered name is permanent in a directory of ephemerals", "own")        \
    X(X33_RULE_STAYS, "what was ephemeral by rule stays so when it is published by a rename",      \
      "own")                                                                                       \
    X(X34_PAST_IS_NOW, "a read of the past shows what is there now", "own")                        \
    X(X35_CLOSE_TAKES_OTHERS, "closing what was replaced removes what has its name now", "own")    \
    X(X36_MERGE_KEEPS_ATTRIBUTES, "a file that is replaced keeps its own attributes", "own")       \
    X(X37_ONE_GRANT_TOLD, "of several that get a lock at once only the first is told", "own")      \
    X(X38_EXCHANGE_TOLD_HALF, "of two nodes that change places one is told", "own")                \
    X(X39_TXN_HALF, "a transaction that is refused leaves what its first steps did", "own")        \
    X(X40_EVENT_AHEAD, "a read shows the state before the entry whose event was sent last", "own") \
    X(X41_STREAM_ENDS_LEASE, "a voter takes the end of the leader's stream for that of its lease", \
      "own")

#define BUG_ENUM_ENTRY(id, what, source) BUG_##id,
enum bug { BUG_NONE, BUG_LIST(BUG_ENUM_ENTRY) BUG_COUNT };
#undef BUG_ENUM_ENTRY

#ifdef ZABFS_BUG_CHOSEN_AT_START /* for tests/sim only: the program says which */
extern enum bug bug_chosen;
#define ZABFS_BUG bug_chosen
#elif !defined(ZABFS_BUG)
#define ZABFS_BUG BUG_NONE
#endif

#define BUG(id) (ZABFS_BUG == BUG_##id)

#endif
