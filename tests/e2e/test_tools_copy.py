"""rsync and git on a mount: what they leave and say is what they leave and say on a local disk."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from tools import Bench  # noqa: E402
from zabfs import run  # noqa: E402

MAKE_TREE = r"""
mkdir -p $OTHER/src/a/b $OTHER/src/empty; cd $OTHER
seq 100 > src/one; echo two > src/a/two; head -c 300000 /dev/zero | tr '\0' z > src/a/b/big
: > src/nothing; ln -s one src/link; ln -s missing src/dangling
chmod 640 src/one; chmod 755 src/a/two; chmod 700 src/a/b; chown 1:2 src/a/two
touch -d '2001-02-03 04:05:06.789' src/one src/nothing src/a/two src/a/b/big src/a/b src/a src/empty src
cd $SELF
"""
RSYNC = "rsync -a --itemize-changes"

RSYNC_SAME = {
    "rsync into, twice, and out": MAKE_TREE + f"{RSYNC} $OTHER/src ./ | sort; echo again; {RSYNC} $OTHER/src ./; "
    f"{RSYNC} src $OTHER/out | sort; echo again; {RSYNC} src $OTHER/out; diff -r $OTHER/src $OTHER/out/src && echo same",
    "rsync of a change": MAKE_TREE + f"rsync -a $OTHER/src ./; echo more >> $OTHER/src/one; rm $OTHER/src/a/two; "
    f"chmod 600 $OTHER/src/nothing; touch -d 2002-01-01 $OTHER/src/one $OTHER/src/a $OTHER/src/nothing; {RSYNC} --delete $OTHER/src ./ | sort; {RSYNC} --delete $OTHER/src ./; cat src/one | tail -1",
    "rsync in place": MAKE_TREE + f"rsync -a $OTHER/src ./; echo more >> $OTHER/src/a/b/big; touch -d 2002-01-01 $OTHER/src/a/b/big; "
    f"{RSYNC} --inplace --omit-dir-times $OTHER/src/ src/; {RSYNC} --checksum $OTHER/src ./; tail -c 5 src/a/b/big",
    "rsync within": MAKE_TREE + f"rsync -a $OTHER/src ./; {RSYNC} src/ copy/ | sort; {RSYNC} src/ copy/; "
    f"{RSYNC} --remove-source-files src/ moved/ | sort; find . -type f | sort; {RSYNC} --backup copy/ moved/ | sort",
    "rsync with temporary files elsewhere": MAKE_TREE + f"mkdir tmp; {RSYNC} --temp-dir=$SELF/tmp --partial --delay-updates "
    f"$OTHER/src/ d/ | sort; ls -A tmp; {RSYNC} $OTHER/src/ d/",
}

# Commits have the same names on both sides when dates and authors do.
GIT_ENV = {
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "c", "GIT_COMMITTER_EMAIL": "c@d",
    "GIT_AUTHOR_DATE": "1000000000 +0000", "GIT_COMMITTER_DATE": "1000000000 +0000", "GIT_CONFIG_NOSYSTEM": "1",
}
BEGIN = "git init -q -b main repo; cd repo; git config gc.auto 0; "
GIT_SAME = {
    "git init add commit": BEGIN + "seq 100 > f; mkdir d; echo x > d/g; ln -s f l; git add .; git commit -qm one; git log --oneline; "
    "git status --short; echo more >> f; git status --short; git diff --stat; git commit -qam two; git log --oneline; git fsck; "
    "git show --stat HEAD~1:; git cat-file -p HEAD:d/g",
    "git branch merge rebase": BEGIN + "seq 20 > f; git add f; git commit -qm one; git checkout -qb b; echo b >> f; git commit -qam b; "
    "git checkout -q main; sed -i 's/^3$/three/' f; git commit -qam m; git merge -q b -m merged; git log --oneline | wc -l; cat f | tail -1; "
    "git checkout -q b; git rebase -q main; git tag v1; git stash list; echo dirty >> f; git stash -q; git status --short; git stash pop -q; "
    "git checkout -q .; git mv f h; git commit -qm renamed; git rm -q h; git commit -qm gone; ls; git reset -q --hard v1; ls; git fsck",
    "git clone and push": BEGIN + "seq 20 > f; git add f; git commit -qm one; cd ..; git clone -q --no-hardlinks repo $OTHER/away; git clone -q --no-hardlinks $OTHER/away back; "
    "git clone -q --no-hardlinks --bare repo bare.git; cd back; git remote add bare ../bare.git; echo y > g; git add g; git commit -qm g; git push -q bare main; "
    "cd ../bare.git; git log --oneline; git fsck; cd ../repo; git pull -q ../bare.git main; ls",
    "git gc": BEGIN + "for i in $(seq 12); do echo $i > f$i; git add .; git commit -qm $i; done; git count-objects | cut -d, -f1; git gc -q; git count-objects | cut -d, -f1; "
    "ls .git/objects/pack | sed 's/pack-.*[.]/pack./' | sort; git fsck; git log --oneline | wc -l; git repack -adq; git prune; git fsck; cat f12",
    "git worktree": BEGIN + "echo 1 > f; git add f; git commit -qm one; git worktree add -q ../tree -b w; ls ../tree; git worktree remove ../tree; "
    "git clean -fdxq; touch new; git clean -fdq; ls",
}


def is_stamped(name):
    """What holds times, inode numbers or random names."""
    return (name.endswith("index") or "/objects/pack" in name or "/logs/" in name or "/hooks/" in name
            or name.endswith(("gc.pid", "FETCH_HEAD", "/objects/info/commit-graph", "/config", ".git/ORIG_HEAD")))


def test(e):
    bench = Bench(e, GIT_ENV)
    for name, script in RSYNC_SAME.items():
        bench.same(name, script, with_times=True)
    for name, script in GIT_SAME.items():
        bench.same(name, script, ignore=is_stamped)
    bench.end()
    print(f"{bench.count} scripts do on a mount what they do on a local disk: {', '.join(bench.ran)}")


run(test, seconds=280)
