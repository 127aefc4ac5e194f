"""The Lua that runs inside Redis: totals added and compared digit by digit, since Lua's numbers are doubles.

A total is a whole number as decimal text. Nothing is written before everything was read, so a script that fails has
changed nothing.
"""

from __future__ import annotations

from typing import Final

ARITHMETIC: Final = """
-- Digits are added fourteen at a time: the sum of two such chunks is far below 2^53, where doubles are exact.
local WIDTH, BASE = 14, 1e14

local function plain(digits)
  digits = string.gsub(digits, '^0+', '')
  return digits == '' and '0' or digits
end

local function aligned(one, other)
  local length = math.ceil(math.max(#one, #other) / WIDTH) * WIDTH
  return string.rep('0', length - #one) .. one, string.rep('0', length - #other) .. other
end

-- The sum, or with sign = -1 the difference of one and a smaller other.
local function combine(one, other, sign)
  one, other = aligned(one, other)
  local result, carry = '', 0
  for first = #one - WIDTH + 1, 1, -WIDTH do
    local last = first + WIDTH - 1
    local chunk = tonumber(string.sub(one, first, last)) + sign * tonumber(string.sub(other, first, last)) + carry
    carry = chunk >= BASE and 1 or chunk < 0 and -1 or 0
    result = string.format('%014.0f', chunk - carry * BASE) .. result
  end
  return plain(string.format('%.0f', carry) .. result)
end

local function at_most(one, other)
  return #one < #other or (#one == #other and one <= other)
end

local function add(one, other)
  return combine(one, other, 1)
end

local function subtract(one, other)
  return at_most(one, other) and '0' or combine(one, other, -1)
end

local function total(key)
  local digits = redis.call('GET', key)
  if digits and not string.match(digits, '^%d+$') then
    error('a total is no number')
  end
  return digits and plain(digits)
end
"""

MOVED: Final = -1
"""What `TAKE` answers where a counter does not stand where it was seen."""

TAKE: Final = (
    ARITHMETIC
    + """
-- First how many counters are taken from. For the key of each an amount, the most that its total may be (empty: no
-- limit, '-': nothing fits), seconds to keep it. Then, for keys that were looked up before, where each stood; behind
-- these a key that never exists, which is removed as in a look.
-- The position that does not fit, from 0, or -1 where a key stands elsewhere, and nothing was taken; or all totals.
local count = tonumber(ARGV[1])
if #KEYS > count then
  redis.call('DEL', KEYS[#KEYS])
end
for i = count + 1, #KEYS - 1 do
  if (total(KEYS[i]) or '0') ~= ARGV[2 * count + i + 1] then
    return -1
  end
end
local totals, after = {}, {}
for i = 1, count do
  local key, amount, most = KEYS[i], ARGV[3 * i - 1], ARGV[3 * i]
  totals[key] = add(totals[key] or total(key) or '0', amount)
  if most == '-' or (most ~= '' and not at_most(totals[key], most)) then
    return i - 1
  end
  after[i] = totals[key]
end
for i = 1, count do
  redis.call('SET', KEYS[i], totals[KEYS[i]], 'EX', ARGV[3 * i + 1])
end
return after
"""
)

LOOK: Final = """
-- The totals of all keys but the first, which never exists: removing it changes nothing, but a server that is not to be
-- written to, and may be behind, refuses it.
redis.call('DEL', KEYS[1])
-- Not MGET, to which a key that holds no text is one that is not there.
local found = {}
for i = 2, #KEYS do
  found[i - 1] = redis.call('GET', KEYS[i])
end
return found
"""

CARRY_OVER: Final = (
    ARITHMETIC
    + """
-- What stands at the first key, at the second too, where less stands. What is no number is more than any: nobody gets
-- anything from it.
local function is_more(one, other)
  if not other or not string.match(other, '^%d+$') then
    return not other
  end
  return not string.match(one, '^%d+$') or not at_most(plain(one), plain(other))
end

local stands, left = redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])
if stands and left > 0 and is_more(stands, redis.call('GET', KEYS[2])) then
  redis.call('SET', KEYS[2], stands, 'PX', math.max(left, redis.call('PTTL', KEYS[2])))
end
"""
)

GIVE_BACK: Final = (
    ARITHMETIC
    + """
-- An amount for each key. A key that is gone stays gone, and nothing falls below 0.
local totals = {}
for i, key in ipairs(KEYS) do
  local stands = totals[key] or total(key)
  if stands then
    totals[key] = subtract(stands, ARGV[i])
  end
end
for key, digits in pairs(totals) do
  redis.call('SET', key, digits, 'KEEPTTL')
end
"""
)
