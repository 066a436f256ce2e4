#!/bin/sh
# Collects everything that a class without internet needs in one folder: the wheels of all pinned packages and of the
# lab, the notebooks to hand out, the classroom scenes, the results that lesson 06 shows, and install.sh for the class.
#
#   sh data_scripts/make_stick.sh [FOLDER]        PYTHON=python3.12 for a class with a different Python
#
# Run it in the repository after `make install`, on a machine with internet and the same system as the class.
set -eu

stick=${1:-stick}
python=${PYTHON:-python3}

if ! "$python" -m pip --version >/dev/null 2>&1; then
    echo "error: $python has no pip; choose another Python: PYTHON=python3.11 sh data_scripts/make_stick.sh" >&2
    exit 2
fi
if [ ! -x .venv/bin/htc-lab ]; then
    echo "error: .venv/bin/htc-lab: no such file; run \`make install\` in the repository first" >&2
    exit 2
fi

mkdir -p "$stick/wheels"
"$python" -m pip download --no-deps --quiet --dest "$stick/wheels" -r constraints.txt
"$python" -m pip wheel --no-deps --quiet --wheel-dir "$stick/wheels" .
.venv/bin/htc-lab course build --out "$stick/course" >/dev/null
.venv/bin/python data_scripts/make_classroom.py --root "$stick/data/classroom" >/dev/null

rm -rf "$stick/notebooks"
mv "$stick/course/student" "$stick/notebooks"
rm -rf "$stick/course"
cp constraints.txt "$stick/"
mkdir -p "$stick/results/classroom"
cp results/classroom_ladder.json "$stick/results/"
cp results/classroom/report.json "$stick/results/classroom/"

cat > "$stick/install.sh" <<'EOF'
#!/bin/sh
# Sets up the lab in ./htc-lab from this folder, without internet: sh /path/to/stick/install.sh
set -eu
stick=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
mkdir -p htc-lab
"$python" -m venv htc-lab/venv
pip="htc-lab/venv/bin/python -m pip --disable-pip-version-check install --quiet --no-index --no-deps"
$pip --find-links "$stick/wheels" -r "$stick/constraints.txt"
$pip --find-links "$stick/wheels" htc-lab
cp -r "$stick/notebooks" "$stick/data" "$stick/results" htc-lab/
echo "Done. Open the lab with:"
echo "  cd htc-lab && venv/bin/python -m jupyterlab notebooks"
EOF
du -sh "$stick"
