"""The Lua that keeps approvals in Redis. What may become of an approval is decided in Python.

A transaction reads what it needs by `READ`, decides, and writes by `COMMIT`, which does nothing if anything was written
meanwhile: each write gives the approvals another version. Only what nobody decides by (signs of life, the time that was
seen, what webhooks hear) is written without one.

All keys begin with the first key, the base, and none of them expires by itself:

| key                       | holds                                                                                   |
| ------------------------- | --------------------------------------------------------------------------------------- |
| base                      | `version`, `seq` of the last approval, `now` as the highest time seen, `secret`         |
| `asked`, `long`           | by id: what was asked, which never changes; what is long of it                          |
| `stands`                  | by id: how it stands                                                                    |
| `binding`                 | by binding: the newest approval of a call                                               |
| `unfinished\\|server\\|call` | ids of those in use or unknown                                                       |
| `at\\|state`, `…\\|server`  | ids by `seq`                                                                          |
| `until\\|state\\|server`    | ids of pending and approved ones by the end of their time; `due` all of them          |
| `waiting`, `…\\|holder`    | ids of pending ones by the end of their time                                           |
| `using`, `owners`         | ids in use by when they came to be; their instances                                     |
| `waiting-long`, `…\\|holder` | those of them with much to show                                                      |
| `done`                    | ids of final ones by when they came to be, earlier where they are kept for less         |
| `changed`                 | ids of all by when they came into their state                                           |
| `heard`                   | instances by when they last said that they live                                         |
| `grants`, `standing`      | standing approvals by id; ids by their end                                              |
| `standing\\|server\\|…`    | ids of those for calls of one kind, by when they were given                            |
| `notices`, `tries`, `whose` | by a notice's id: what it says, attempts so far, the server                           |
| `outbox\\|server`          | ids of notices by when they are due                                                    |
| `of\\|id`                  | ids of an approval's notices                                                           |
"""

from __future__ import annotations

from typing import Final

from sidecar.ledger.scripts import GIVING_BACK, TAKING

CHANGED: Final = -2
"""What `COMMIT` answers where approvals have changed since they were read, and `TAKE_SAME` where they have to be."""

_NOW: Final = """
-- The time that all users share: what this one says, or what another has seen if that is later. It is kept. A server
-- that is not to be written to, and may be behind, refuses to remove the second key, which never exists.
local function seen_by_all(now)
  redis.call('DEL', KEYS[2])
  local mark = redis.call('HGET', KEYS[1], 'now')
  if mark and not (tonumber(mark) and tonumber(mark) == tonumber(mark)) then
    error('a time is no number')
  end
  if mark and tonumber(mark) >= tonumber(now) then
    return mark
  end
  redis.call('HSET', KEYS[1], 'now', now)
  return now
end

local base = KEYS[1] .. '|'
local now = seen_by_all(ARGV[1])
"""

_FETCH: Final = """
local function record(id, brief)
  return {
    id, redis.call('HGET', base .. 'stands', id), redis.call('HGET', base .. 'asked', id),
    not brief and redis.call('HGET', base .. 'long', id)
  }
end

"""

READ: Final = (
    _NOW
    + _FETCH
    + """
-- After the time pairs of what is asked for and whose. The version, the last number, the time, and the answers. No call
-- needs what is long of what was asked, and an agent may ask for the same with megabytes.
local read = {record = record}

function read.brief(id)
  return record(id, true)
end

function read.pointer(binding)
  return redis.call('HGET', base .. 'binding', binding)
end

function read.binding(binding)
  local id = read.pointer(binding)
  return id and read.brief(id)
end

function read.unfinished(call)
  local found = {}
  for i, id in ipairs(redis.call('SMEMBERS', base .. 'unfinished|' .. call)) do
    found[i] = read.brief(id)
  end
  return found
end

function read.grant(id)
  return redis.call('HGET', base .. 'grants', id)
end

function read.grants(kind)
  local found = {}
  for _, id in ipairs(redis.call('ZRANGE', base .. 'standing|' .. kind, 0, -1)) do
    found[#found + 1] = read.grant(id)
  end
  return found
end

function read.pending(holder)
  return {
    redis.call('ZCOUNT', base .. 'waiting|' .. holder, '(' .. now, '+inf'),
    redis.call('ZCOUNT', base .. 'waiting', '(' .. now, '+inf'),
    redis.call('ZCOUNT', base .. 'waiting-long|' .. holder, '(' .. now, '+inf'),
    redis.call('ZCOUNT', base .. 'waiting-long', '(' .. now, '+inf')
  }
end

function read.notices(id)
  return redis.call('SMEMBERS', base .. 'of|' .. id)
end

function read.heard(instance)
  return redis.call('ZSCORE', base .. 'heard', instance)
end

local answers = {}
for i = 2, #ARGV, 2 do
  answers[i / 2] = read[ARGV[i]](ARGV[i + 1])
end
return {redis.call('HGET', KEYS[1], 'version'), redis.call('HGET', KEYS[1], 'seq'), now, answers}
"""
)

_COMMANDS: Final = """
-- What is written, from an argument on: for each command the number of its words, and the words. A key that holds
-- something else is found before anything is written.
local TYPES = {
  HSET = 'hash', HDEL = 'hash', ZADD = 'zset', ZREM = 'zset', SADD = 'set', SREM = 'set', DEL = false
}

local function commands_from(at)
  local commands = {}
  while at <= #ARGV do
    local count = tonumber(ARGV[at])
    local command = {unpack(ARGV, at + 1, at + count)}
    local wanted, stands = TYPES[command[1]], redis.call('TYPE', command[2]).ok
    if wanted and stands ~= 'none' and stands ~= wanted then
      error('a key of approvals holds something else')
    end
    commands[#commands + 1] = command
    at = at + count + 1
  end
  return commands
end
"""

COMMIT: Final = (
    TAKING
    + GIVING_BACK
    + _COMMANDS
    + """
-- Keys: the base, and those of `take` or `give_back`. Arguments: the version that was read, the next one, a key that
-- never exists, which of the two runs (or neither), how many arguments it has, these, and the commands.
-- -2 where the version is another; what `take` answers where it takes nothing; nothing was written then.
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[1] then
  return -2
end
local count, keys, given = tonumber(ARGV[5]), {}, {}
for i = 2, #KEYS do
  keys[i - 1] = KEYS[i]
end
for i = 1, count do
  given[i] = ARGV[5 + i]
end
local commands, answer = commands_from(6 + count), {}
if ARGV[4] == 'take' then
  answer = take(keys, given)
  if type(answer) == 'number' or type(answer[1]) == 'number' then
    return answer
  end
else
  -- After a command that needs no memory Redis refuses none that does: how a call ended can always be noted.
  redis.call('DEL', ARGV[3])
end
if ARGV[4] == 'give_back' then
  give_back(keys, given)
end
-- First, since Redis may refuse it for want of memory: nothing is written then.
redis.call('HSET', KEYS[1], 'version', ARGV[2])
for _, command in ipairs(commands) do
  redis.call(unpack(command))
end
return answer
"""
)

TAKE_SAME: Final = (
    TAKING
    + """
-- Takes, unless the same call is in use or unknown: its ids stand at the last key but one. The last one never exists.
local keys = {}
for i = 1, #KEYS - 2 do
  keys[i] = KEYS[i]
end
if redis.call('EXISTS', KEYS[#KEYS - 1]) == 1 then
  return -2
end
local answer = take(keys, ARGV)
if ARGV[1] == '0' then
  redis.call('DEL', KEYS[#KEYS])
end
return answer
"""
)

FETCH: Final = (
    _NOW
    + _FETCH
    + """
-- After the time and a number of bytes `brief` or nothing, then ids: the time, and their approvals, as many as there is
-- room for, one at least.
local found, room, brief = {}, tonumber(ARGV[2]), ARGV[3] == 'brief'
for i = 4, #ARGV do
  local one = record(ARGV[i], brief)
  found[i - 3] = one
  room = room - #(one[3] or '') - #(one[4] or '')
  if room <= 0 then
    break
  end
end
return {now, found}
"""
)

LIST: Final = (
    _NOW
    + """
-- After the time pairs of an index and how many of it, the newest first (-1: all): ids with their numbers.
local found = {}
for i = 2, #ARGV, 2 do
  found[i / 2] = redis.call('ZREVRANGE', base .. ARGV[i], 0, ARGV[i + 1], 'WITHSCORES')
end
return found
"""
)

SINCE: Final = (
    _NOW
    + """
-- After the time another one: approvals that came into their state after it, noted or not, with how they stand.
local found = {}
local function add(index, up_to)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', base .. index, '(' .. ARGV[2], up_to)) do
    found[#found + 1] = {id, redis.call('HGET', base .. 'stands', id)}
  end
end
add('changed', '+inf')
add('due', now)
return found
"""
)

GRANTS: Final = (
    _NOW
    + """
-- The time, and the standing approvals that are not over.
local found = {}
for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', base .. 'standing', '+inf', '(' .. now)) do
  found[#found + 1] = redis.call('HGET', base .. 'grants', id) or nil
end
return {now, found}
"""
)

COUNT: Final = (
    _NOW
    + """
-- After the time a server: how many are pending, approved, in use, and unknown, and how the oldest pending one stands.
local server, oldest = ARGV[2], false
local function ends_later(state)
  return redis.call('ZCOUNT', base .. 'until|' .. state .. '|' .. server, '(' .. now, '+inf')
end
local function all(state)
  return redis.call('ZCARD', base .. 'at|' .. state .. '|' .. server)
end
local pending = ends_later('pending')
local place = 0
while pending > 0 and not oldest do
  local id = redis.call('ZRANGE', base .. 'at|pending|' .. server, place, place)[1]
  if not id then
    break
  end
  local ends = redis.call('ZSCORE', base .. 'due', id)
  oldest = ends and tonumber(ends) > tonumber(now) and redis.call('HGET', base .. 'stands', id)
  place = place + 1
end
return {pending, ends_later('approved'), all('in_use'), all('unknown'), oldest}
"""
)

SWEEP: Final = (
    _NOW
    + """
-- After the time an instance, which lives; the time since when others are gone, the time before which what is final is
-- old, and how many of each there may be. Ids of approvals that are over, lost, old; of standing ones that are over.
local instance, gone, old, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local since = string.format('%.17g', tonumber(now) - gone)
local kept = string.format('%.17g', tonumber(now) - old)
redis.call('ZADD', base .. 'heard', now, instance)
redis.call('ZREMRANGEBYSCORE', base .. 'heard', '-inf', kept)

local function first(index, up_to, stands)
  local found = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', base .. index, '-inf', up_to)) do
    if #found == most then
      break
    end
    if not stands or stands(id) then
      found[#found + 1] = id
    end
  end
  return found
end

local function is_lost(id)
  local owner = redis.call('HGET', base .. 'owners', id)
  local heard = owner and redis.call('ZSCORE', base .. 'heard', owner)
  return not heard or tonumber(heard) <= tonumber(since)
end

local function granted_nothing(id)
  return redis.call('HEXISTS', base .. 'grants', id) == 0
end

return {first('due', now), first('using', since, is_lost), first('done', kept, granted_nothing), first('standing', now)}
"""
)

_NOTICE: Final = """
-- A notice's approval and server.
local function whose(id)
  return string.match(redis.call('HGET', base .. 'whose', id) or '', '^(%S+) (.*)$')
end
"""

NOTICES: Final = (
    _NOW
    + _NOTICE
    + """
-- After the time a server, seconds, and how many: its notices that are due, which nobody else gets for so long. For
-- each its id, when it was due, what it says, the attempts so far, its approval, and both texts of what was asked.
local outbox, busy, found = base .. 'outbox|' .. ARGV[2], tonumber(ARGV[3]), {}
local due = redis.call('ZRANGEBYSCORE', outbox, '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[4])
for i = 1, #due, 2 do
  local id = due[i]
  local approval = whose(id)
  if approval then
    redis.call('ZADD', outbox, string.format('%.17g', tonumber(now) + busy), id)
    found[#found + 1] = {
      id, due[i + 1], redis.call('HGET', base .. 'notices', id), redis.call('HGET', base .. 'tries', id), approval,
      redis.call('HGET', base .. 'asked', approval), redis.call('HGET', base .. 'long', approval)
    }
  else
    redis.call('ZREM', outbox, id)
  end
end
return found
"""
)

NOTICED: Final = (
    _NOW
    + _NOTICE
    + """
-- After the time a notice, and the seconds after which it is due again; without them it is removed.
local id, seconds = ARGV[2], ARGV[3]
local approval, server = whose(id)
if approval and seconds ~= '' then
  redis.call('HINCRBY', base .. 'tries', id, 1)
  redis.call('ZADD', base .. 'outbox|' .. server, string.format('%.17g', tonumber(now) + tonumber(seconds)), id)
elseif approval then
  redis.call('ZREM', base .. 'outbox|' .. server, id)
  redis.call('SREM', base .. 'of|' .. approval, id)
  for _, index in ipairs({'notices', 'tries', 'whose'}) do
    redis.call('HDEL', base .. index, id)
  end
end
"""
)

SECRET: Final = (
    _NOW
    + """
-- After the time a secret for those who have none: the one that all users share.
redis.call('HSETNX', KEYS[1], 'secret', ARGV[2])
return redis.call('HGET', KEYS[1], 'secret')
"""
)

SCRIPTS: Final = (READ, COMMIT, TAKE_SAME, FETCH, LIST, SINCE, GRANTS, COUNT, SWEEP, NOTICES, NOTICED, SECRET)
"""All of them."""
