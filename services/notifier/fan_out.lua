-- Appends events to subscribers' out streams, in order. KEYS: the streams. ARGV: the oldest id that a stream still keeps,
-- and the events as MessagePack, [number of the stream in KEYS, the event's text] each: one argument is packed faster
-- than a thousand.
local events = cmsgpack.unpack(ARGV[2])
for _, event in ipairs(events) do
    redis.call('XADD', KEYS[event[1]], 'MINID', '~', ARGV[1], '*', 'event', event[2])
end
return #events
