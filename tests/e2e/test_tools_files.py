"""The tools that every script uses, run on a local disk and on a mount: they say the same, end the same
way, and leave the same. And mv between the two."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
from tools import Bench  # noqa: E402
from zabfs import run  # noqa: E402

MAKE_TREE = r"""
mkdir -p src/a/b src/empty
echo one > src/one; echo two > src/a/two; head -c 300000 /dev/zero | tr '\0' z > src/a/b/big
: > src/nothing; ln -s one src/link; ln -s missing src/dangling
chmod 640 src/one; chmod 755 src/a/two; chmod 700 src/a/b; chown 1:2 src/a/two
touch -d '2001-02-03 04:05:06.789' src/one src/nothing src/a/two src/a/b/big src/empty src/a/b src/a src
"""

SAME = {
    "touch": "touch f; touch -d 2001-01-01 f; stat -c %Y f; touch -a f; touch -m -d 2002-01-01 f; stat -c %Y f; "
             "touch no/such; touch -c not-made; ls",
    "mkdir": "mkdir a; mkdir a; mkdir -p a/b/c; mkdir -m 700 d; mkdir no/such; rmdir a; rmdir -p a/b/c; rmdir none",
    "rm": "mkdir -p a/b; touch a/f a/b/g; ln -s a l; rm a; rm -r a; rm l; rm none; rm -f none; ls -A",
    "ln -s": "echo v > f; ln -s f l; cat l; readlink l; ln -s f l; ln -sf g l; readlink l; readlink -f f | sed s,.*/,,",
    "cp": MAKE_TREE + "cp src/one copy; cp -a src all; cp -r src/a plain; cp src/none x; cp src x; cp -u src/one all/; "
          "cp --remove-destination src/a/two copy; cat copy; cp -s $SELF/src/one sym; readlink sym; rm sym",
    "cp -a out and in": MAKE_TREE + "cp -a src $OTHER/out; cp -a $OTHER/out back; diff -r src back && echo same",
    "tar": MAKE_TREE + "tar c src | tar t | sort; mkdir x; tar c src | tar x -C x; diff -r src x/src && echo same; "
           "tar cf $OTHER/t.tar --exclude=link --exclude=dangling src; rm -r x; mkdir x; tar xpf $OTHER/t.tar -C x; rm $OTHER/t.tar; diff -r src x/src; "
           "tar cf in.tar src/one src/a; tar tvf in.tar | wc -l; tar df in.tar; tar rf in.tar src/nothing; tar tf in.tar; rm in.tar",
    "install": "echo v > f; install -m 755 f g; install -d -m 700 d; install -D f d/e/f; install -o 1 -g 2 f h; "
               "install -b f g; install -C f g; cat g d/e/f",
    "tee": "echo v | tee a b; echo w | tee -a a; cat a; echo x | tee no/such/f",
    "dd": "dd if=/dev/zero of=f bs=64k count=4 status=none; wc -c < f; printf xyz | dd of=f bs=1 conv=notrunc status=none; "
          "head -c 5 f | tr '\\0' 0; printf abc | dd of=f bs=1 seek=10 conv=notrunc status=none; wc -c < f; "
          "seq 300 | dd of=g bs=1 status=none; md5sum < g; dd if=g of=h bs=7 skip=3 count=5 status=none; cat h; "
          "dd if=g of=h bs=100 seek=2 conv=sparse,fsync status=none; wc -c < h; printf more | dd of=g oflag=append "
          "conv=notrunc status=none; tail -c 8 g",
    "head tail wc": "seq 1000 > f; head -3 f; tail -3 f; wc f; tail -c 10 f; tac f | head -1; sort -R f | sort -n | md5sum",
    "sort and others in place": "seq 10 | sort -r > f; sort -n -o f f; cat f; shuf --random-source=/bin/true -o f -n 3 f; wc -l < f; split -l 1 f part-; "
                                "ls; csplit -s f 2; ls; fold -w 1 f > g; paste f f > h; wc -l g h",
    "truncate": "echo hello > f; truncate -s 2 f; cat f; truncate -s 5 f; od -c f; truncate -s 0 f; wc -c f; "
                "truncate -s +3 f; wc -c f; truncate -c -s 9 none; ls",
    "chmod chown": "touch f; mkdir d; chmod 600 f; chmod +x f; chmod g=u f; chmod -R 700 d; chown 3 f; chown 3:4 f; chgrp 5 d; "
                   "chown --reference=f d; stat -c '%a %u %g' f d; chmod 644 none",
    "umask and sgid": "umask 027; touch f; mkdir d; umask 0; mkdir g; chgrp 7 g; chmod 2775 g; touch g/f; mkdir g/d; "
                      "stat -c '%A %g' g/f g/d",
    "find": MAKE_TREE + "cd src; find . | sort; find . -type f -size +100k; find . -newermt 2020-01-01 | sort; "
            "find . -empty | sort; find . -perm 640; find . -uid 1; find . -name 't*' -exec cat {} +; "
            "find . -links 3 | sort; find . -type f -delete; find . | sort; find . -depth -type d -delete; ls -A",
    "grep -r": MAKE_TREE + "grep -r o src | sort; grep -rl two src; grep -rc t src/a/two; grep -q zz src/a/b/big && echo found; "
               "grep none src/one; grep x no-such",
    "xargs": "seq 50 | xargs -I{} touch f{}; ls | wc -l; ls | xargs -P4 -n5 rm; ls | wc -l; seq 9 | xargs -P3 -n1 mkdir; ls",
    "diff cmp": MAKE_TREE + "cp -a src b; diff -r src b && echo same; echo x >> b/one; diff -r src b; cmp src/one b/one; "
                "diff -u src/one b/one | patch b/one -R -s; diff -r src b && echo same",
    # The size of a directory is the number of its children here.
    "ls": MAKE_TREE + "ls -laR --time-style=+%s src | awk '{print $1, $3, $4, /^d/ ? 0 : $5, $7, $8, $9}' | grep -v total; ls -i src | wc -l; "
          "ls -d src/*; du --apparent-size -b src/one; stat -c '%F %s %h' src/one src/link; stat -c '%F %h' src/a",
    "mv": MAKE_TREE + "mv src/one uno; mv uno src/a/; mv src/a src/z; ls src/z; mv src/z/b src/empty src/z/two src/nothing .; "
          "ls -A; mv -n nothing two; cat two; mv -f two nothing; cat nothing; mv none x; mv -T b empty; ls empty; mkdir -p p/q; "
          "mv p p/q; mv -b nothing src/link; ls src",
    "mv out and in": MAKE_TREE + "mv src $OTHER/; ls -A; mv $OTHER/src here; find here | sort; mv here/one $OTHER/; "
                     "echo other > here/one; mv $OTHER/one here/one; cat here/one",
    "shell redirections": "echo a > f; echo b >> f; cat f; : > f; wc -c < f; exec 5<> f; echo c >&5; exec 5>&-; cat f; "
                          "set -C; echo d > f; echo e >| f; cat f; { echo 1; echo 2; } > g; cat g; "
                          "while read -r x; do echo \"got $x\" >> f; done < g; cat f; cat < none; echo x > no/such",
    "names": r"touch -- '-x' ' ' $'\n' $'\xff\xfe' '*' 'ü' '..x' '.hidden'; ls -A | od -c; "
             r"touch $(printf '%0255d' 0); touch $(printf '%0256d' 0); ls -A | wc -l; rm -- *; ls -A",
    "mktemp": "d=$(mktemp -d -p .); f=$(mktemp -p .); echo x > $f; stat -c %a $d $f; rm -r $d $f; ls -A",
    "flock": "flock f -c 'echo in'; ( flock -n 9 && echo got; flock -n f -c true || echo taken ) 9> f; flock -s f flock -s f echo two",
    "ed perl awk": r"seq 3 > f; printf '2d\nw\nq\n' | ed -s f; cat f; perl -pi -e 's/3/three/' f; cat f; perl -pi.bak -e 's/1/one/' f; "
                   r"ls; awk '{print > $1\".out\"}' f; ls; gzip -nk f; gunzip -c f.gz; gzip -n f.bak; ls",
}


def test(e):
    bench = Bench(e)
    for name, script in SAME.items():
        bench.same(name, script, with_times=name in ("cp -a out and in", "tar"))
    bench.end()
    print(f"{bench.count} scripts do on a mount what they do on a local disk: {', '.join(bench.ran)}")


run(test, seconds=280)
