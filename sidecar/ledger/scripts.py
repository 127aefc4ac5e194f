"""The Lua that runs inside Redis: totals added and compared digit by digit, since Lua's numbers are doubles.

A total is a whole number as decimal text. Nothing is written before everything was read, so a script that fails has
changed nothing. A counter whose window slides is a sorted set: for each slice a member `<slice>:<total>`, sorted by the
slice.
"""

from __future__ import annotations

from typing import Final

from sidecar.ledger.sliding import SLICES

KEPT_SLICES: Final = 7 * SLICES
"""Slices of a counter that are kept though they count no more.

By number, not by age: a clock that is ahead for a moment must not remove those of now.
"""

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

-- The sum of many, 64 at a time: the sum of so many chunks is below 2^53 too.
local function sum(numbers)
  local result = '0'
  for from = 1, #numbers, 64 do
    local columns = {}
    for i = from, math.min(from + 63, #numbers) do
      local digits, column = numbers[i], 0
      for last = #digits, 1, -WIDTH do
        column = column + 1
        local chunk = tonumber(string.sub(digits, math.max(1, last - WIDTH + 1), last))
        columns[column] = (columns[column] or 0) + chunk
      end
    end
    local text, carry = '', 0
    for _, column in ipairs(columns) do
      local rest = math.fmod(column + carry, BASE)
      carry = (column + carry - rest) / BASE
      text = string.format('%014.0f', rest) .. text
    end
    result = add(result, plain(string.format('%.0f', carry) .. text))
  end
  return result
end

local function total(key)
  local digits = redis.call('GET', key)
  if digits and not string.match(digits, '^%d+$') then
    error('a total is no number')
  end
  return digits and plain(digits)
end

-- The slices from first on, or up to last too: for each its number, its total, and the member as it stands.
local function slices(key, first, last)
  local found = {}
  for i, member in ipairs(redis.call('ZRANGEBYSCORE', key, first, last or '+inf')) do
    local slice, digits = string.match(member, '^(%-?%d+):(%d+)$')
    if not slice then
      error('a total is no number')
    end
    found[i] = {slice = slice, total = plain(digits), member = member}
  end
  return found
end

-- Where a counter stands: its total, and if it slides, its slices.
local function stand(key, first)
  if first == '' then
    return total(key) or '0'
  end
  local found, totals = slices(key, first), {}
  for i, one in ipairs(found) do
    totals[i] = one.total
  end
  return sum(totals), found
end

-- Writes the total of a slice in place of the member that stands for it. Adding first: what Redis refuses for want of
-- memory is the first write then.
local function put(key, slice, digits, member)
  local new = slice .. ':' .. digits
  if new ~= member then
    redis.call('ZADD', key, slice, new)
    if member then
      redis.call('ZREM', key, member)
    end
  end
end
"""

MOVED: Final = -1
"""What `TAKE` answers where a counter does not stand where it was seen."""

TAKING: Final = (
    ARITHMETIC
    + """
-- First how many counters are taken from. For the key of each an amount, the most that its total may be (empty: no
-- limit, '-': nothing fits), seconds to keep it, and where it slides the first slice that counts and that of now (else
-- both are empty). Then, for keys that were looked up before, where each stood, and its first slice; behind these a key
-- that never exists, which is removed as in a look.
-- -1 where a key stands elsewhere, or the position that does not fit, from 0, and the slice that has to fall out for
-- it; nothing was taken then. Or all totals.
local function take(keys, given)
  local count = tonumber(given[1])
  local function argument(i, which)
    return given[5 * (i - 1) + 1 + which]
  end

  if #keys > count then
    redis.call('DEL', keys[#keys])
  end
  for i = count + 1, #keys - 1 do
    local at = 5 * count + 2 * (i - count)
    if stand(keys[i], given[at + 1]) ~= given[at] then
      return -1
    end
  end

  -- The slice with which enough has fallen out, in their order. Where it never fits, the last one in which something
  -- stands, or '' where nothing does.
  local function falls(found, remains, most)
    local last = ''
    for _, one in ipairs(found or {}) do
      remains = subtract(remains, one.total)
      if most ~= '-' and at_most(remains, most) then
        return one.slice
      end
      last = one.total == '0' and last or one.slice
    end
    return last
  end

  local stands, totals, after, taken = {}, {}, {}, {}
  for i = 1, count do
    local key, amount, most = keys[i], argument(i, 1), argument(i, 2)
    if not totals[key] then
      totals[key], stands[key] = stand(key, argument(i, 4))
    end
    totals[key], taken[key] = add(totals[key], amount), add(taken[key] or '0', amount)
    if most == '-' or (most ~= '' and not at_most(totals[key], most)) then
      return {i - 1, falls(stands[key], totals[key], most)}
    end
    after[i] = totals[key]
  end
  for i = 1, count do
    local key, keep, first, now = keys[i], argument(i, 3), argument(i, 4), argument(i, 5)
    if first == '' then
      redis.call('SET', key, totals[key], 'EX', keep)
    elseif taken[key] then
      local own = {total = '0'}
      for _, one in ipairs(stands[key]) do
        if one.slice == now then
          own = one
        end
      end
      put(key, now, add(own.total, taken[key]), own.member)
      local over = redis.call('ZCOUNT', key, '-inf', '(' .. first) - <kept>
      if over > 0 then
        redis.call('ZREMRANGEBYRANK', key, 0, over - 1)
      end
      redis.call('EXPIRE', key, keep)
      taken[key] = nil
    end
  end
  return after
end
""".replace("<kept>", str(KEPT_SLICES))
)
"""What takes from counters: a function `take` of keys and arguments."""

TAKE: Final = f"{TAKING}return take(KEYS, ARGV)\n"

LOOK: Final = (
    ARITHMETIC
    + """
-- The totals of all keys but the first, which never exists: removing it changes nothing, but a server that is not to be
-- written to, and may be behind, refuses it. For each key the first slice that counts where it slides.
redis.call('DEL', KEYS[1])
local found = {}
for i = 2, #KEYS do
  found[i - 1] = stand(KEYS[i], ARGV[i - 1])
end
return found
"""
)

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

GIVING_BACK: Final = """
-- For each key an amount, and the slice that it was taken from where the key slides. What is gone stays gone, and
-- nothing falls below 0.
local function give_back(keys, given)
  local totals, members = {}, {}
  for i, key in ipairs(keys) do
    local amount, slice = given[2 * i - 1], given[2 * i]
    local at = key .. ' ' .. slice
    if not totals[at] then
      local one = slice ~= '' and slices(key, slice, slice)[1] or {}
      totals[at] = slice == '' and total(key) or one.total
      members[at] = one.member
    end
    totals[at] = totals[at] and subtract(totals[at], amount)
  end
  for i, key in ipairs(keys) do
    local slice = given[2 * i]
    local at = key .. ' ' .. slice
    if totals[at] and slice == '' then
      redis.call('SET', key, totals[at], 'KEEPTTL')
    elseif totals[at] then
      put(key, slice, totals[at], members[at])
    end
    totals[at] = nil
  end
end
"""
"""What undoes entries: a function `give_back` of keys and arguments, on top of `ARITHMETIC`."""

GIVE_BACK: Final = f"{ARITHMETIC}{GIVING_BACK}give_back(KEYS, ARGV)\n"
