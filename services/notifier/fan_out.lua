-- Appends events to subscribers' out streams, in order. KEYS: the streams. ARGV: the oldest id that a stream still keeps,
-- then for each event the number of its stream in KEYS and its bytes.
for i = 2, #ARGV, 2 do
    redis.call('XADD', KEYS[tonumber(ARGV[i])], 'MINID', '~', ARGV[1], '*', 'event', ARGV[i + 1])
end
return (#ARGV - 1) / 2
