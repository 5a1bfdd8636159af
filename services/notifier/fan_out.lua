-- Appends events to subscribers' out streams, in order. KEYS: the streams. ARGV: the oldest id that a stream still keeps,
-- and the events as MessagePack, [number of the stream in KEYS, the event's text] each: one argument is packed faster
-- than a thousand. Each stream is trimmed once, by its first event: trimming costs a third of an append. Gives the last id.
local events = cmsgpack.unpack(ARGV[2])
local trimmed = {}
local id
for _, event in ipairs(events) do
    local key = KEYS[event[1]]
    if trimmed[key] then
        id = redis.call('XADD', key, '*', 'event', event[2])
    else
        id = redis.call('XADD', key, 'MINID', '~', ARGV[1], '*', 'event', event[2])
        trimmed[key] = true
    end
end
return id
