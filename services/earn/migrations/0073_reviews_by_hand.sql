-- No hand makes a review that the queue can't show: its money is of a currency and of a value that a programme can have, its moments
-- are of a year that a caller can read, its patterns are those of the guards. What earn writes was never otherwise: whoever runs the
-- first release goes on.
-- needs: 0071_birth_months.sql

ALTER TABLE reviews
ADD CONSTRAINT reviews_money_can_be_told CHECK (
    point_value ~ '^[0-9]{1,15}([.][0-9]{1,12})?$' AND point_value ~ '[1-9]'
    AND currency ~ (
        '^(AED|AFN|ALL|AMD|ANG|AOA|ARS|AUD|AWG|AZN|BAM|BBD|BDT|BGN|BHD|BIF|BMD|BND|BOB|BOV|BRL|BSD|BTN|BWP|BYN|BZD|CAD|CDF|'
        'CHE|CHF|CHW|CLF|CLP|CNY|COP|COU|CRC|CUP|CVE|CZK|DJF|DKK|DOP|DZD|EGP|ERN|ETB|EUR|FJD|FKP|GBP|GEL|GHS|GIP|GMD|GNF|'
        'GTQ|GYD|HKD|HNL|HTG|HUF|IDR|ILS|INR|IQD|IRR|ISK|JMD|JOD|JPY|KES|KGS|KHR|KMF|KPW|KRW|KWD|KYD|KZT|LAK|LBP|LKR|LRD|'
        'LSL|LYD|MAD|MDL|MGA|MKD|MMK|MNT|MOP|MRU|MUR|MVR|MWK|MXN|MXV|MYR|MZN|NAD|NGN|NIO|NOK|NPR|NZD|OMR|PAB|PEN|PGK|PHP|'
        'PKR|PLN|PYG|QAR|RON|RSD|RUB|RWF|SAR|SBD|SCR|SDG|SEK|SGD|SHP|SLE|SOS|SRD|SSP|STN|SVC|SYP|SZL|THB|TJS|TMT|TND|TOP|'
        'TRY|TTD|TWD|TZS|UAH|UGX|USD|USN|UYI|UYU|UYW|UZS|VED|VES|VND|VUV|WST|XAF|XCD|XCG|XOF|XPF|YER|ZAR|ZMW|ZWG)$'
    )
),
ADD CONSTRAINT reviews_moments_can_be_told CHECK (
    extract(YEAR FROM occurred_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9999
    AND extract(YEAR FROM flagged_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9999
    AND extract(YEAR FROM decided_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9999
),
ADD CONSTRAINT reviews_patterns_known CHECK (
    array_ndims(patterns) = 1
    AND patterns <@ ARRAY['member_rate', 'terminal_rate', 'duplicate', 'own_card', 'many_cards', 'refund_loop']
);
