"""A program's arguments, name and standard input are its own under both runners."""
#: argv -x --flag 'two words'
#: stdin first
#: stdin second

import sys

import gort

print(__name__, sys.argv[0].endswith("script_arguments.py"), sys.argv[1:])
lines = gort.chan(1)
gort.go(lambda: lines.send(sys.stdin.read().split()))
print(lines.recv())
