"""The Lua scripts that write service streams: compare, then append. They are the only writers.

Beside each stream stands its head: `n`, how far it is published, `hash`, the chained hash there, and `copy_of`, the PostgreSQL
that tells the same (copies.py). Ids are `<n>-0`.
"""

_TOP = """
local function top_of(key)
  if redis.call('EXISTS', key) == 0 then return 0 end
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return tonumber(string.match(info[i + 1], '^(%d+)-'))
    end
  end
  return 0
end
"""

PUBLISH = (
    _TOP
    + """
-- KEYS: stream, head. ARGV: first n, hash before, hash after, which PostgreSQL says so, payload...
-- Appends only where the stream ends exactly before the first, at the hash before, and is no other PostgreSQL's copy: a repeat
-- adds nothing.
local first = tonumber(ARGV[1])
local head = redis.call('HMGET', KEYS[2], 'n', 'hash', 'copy_of')
local n, hash, top = tonumber(head[1] or '0'), head[2] or '', top_of(KEYS[1])
local virgin = not head[1] and top == 0 and first == 1
if not virgin and not (top == first - 1 and n == first - 1 and hash == ARGV[2]) then
  return {0, tostring(top), tostring(n), hash}
end
if head[3] and head[3] ~= ARGV[4] then
  return {0, tostring(top), tostring(n), hash}
end
for i = 5, #ARGV do
  redis.call('XADD', KEYS[1], string.format('%.0f-0', first + i - 5), 'event', ARGV[i])
end
redis.call('HSET', KEYS[2], 'n', string.format('%.0f', first + #ARGV - 5), 'hash', ARGV[3], 'copy_of', ARGV[4])
return {1}
"""
)

HEAD = (
    _TOP
    + """
-- KEYS: stream, head. Gives the last id's n, the head's n and hash, the first entry's n (0 where it is empty), whose copy it is.
local head = redis.call('HMGET', KEYS[2], 'n', 'hash', 'copy_of')
local first = '0'
if redis.call('EXISTS', KEYS[1]) == 1 then
  local found = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
  if found[1] then first = string.match(found[1][1], '^(%d+)-') end
end
return {tostring(top_of(KEYS[1])), head[1] or '', head[2] or '', first, head[3] or ''}
"""
)

VOUCH = """
-- KEYS: head. ARGV: n and hash as they were compared, which PostgreSQL tells the same.
local head = redis.call('HMGET', KEYS[1], 'n', 'hash')
if head[1] ~= ARGV[1] or head[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'copy_of', ARGV[3])
return 1
"""

RESET = (
    _TOP
    + """
-- KEYS: stream, head. ARGV: top, n, hash as they were seen; n and hash to start again from, and which PostgreSQL says so.
-- Empties a stream so that it can be filled again from n + 1; only from the state that was judged.
local head = redis.call('HMGET', KEYS[2], 'n', 'hash')
if tostring(top_of(KEYS[1])) ~= ARGV[1] or (head[1] or '') ~= ARGV[2] or (head[2] or '') ~= ARGV[3] then
  return 0
end
if ARGV[1] ~= '0' or ARGV[4] ~= '0' then -- one that never had an entry and begins at 1 keeps its groups
  redis.call('DEL', KEYS[1])
  redis.call('XGROUP', 'CREATE', KEYS[1], 'reset', '0', 'MKSTREAM')
  redis.call('XSETID', KEYS[1], ARGV[4] .. '-0')
  redis.call('XGROUP', 'DESTROY', KEYS[1], 'reset')
end
redis.call('HSET', KEYS[2], 'n', ARGV[4], 'hash', ARGV[5], 'copy_of', ARGV[6])
return 1
"""
)
