#!/usr/bin/env perl
# What compilers of drivers make of the kernels (`trivium bench pipelines --json`, one file per run), beside the reference
# that is committed here.
#
# usage: statistics.pl check RESULTS REFERENCE DOCUMENT
#            exit 1 where a pipeline spills or has scratch, became worse by more than a tenth, is not in the reference or is
#            gone from it, or where the table in DOCUMENT is not the reference's
#        statistics.pl write RESULTS REFERENCE DOCUMENT REASON
#            writes both anew, and the reason beside them; spills and scratch fail all the same
#
# RESULTS holds DEVICE.RUN.json, of which one device's are taken together; devices without any are left as they are.
# REFERENCE holds DEVICE.tsv (first line: the driver), steps.tsv (what recorded steps consist of), reasons.tsv (day and reason, the newest last) and known.tsv (device,
# kernel, what, reason: spills or scratch that are not ours to mend; * stands for any text).
#
# Worse is: more than a tenth more cycles by the compiler's estimate (instructions, where it makes none), or more than a
# tenth fewer subgroups at once (more registers, where it does not say), or more dispatches or barriers of a step. Where the driver is another one than the
# reference's, its compiler may be the cause, so that worse is said and does not fail.
use strict;
use warnings;
use JSON::PP ();
use POSIX ();

my @measures = qw(registers spills scratch_bytes shared_bytes subgroups instructions cycles);
my @step_measures = qw(dispatches command_buffers barriers);
my @columns = ('asked', @measures);    # asked: yes where a recorded step uses it
my ($begin_mark, $end_mark) = ('<!-- drivers: written by tests/rungs/drivers.sh --write, not by hand -->', '<!-- drivers: end -->');
my @shown_devices = qw(navi31 ampere);    # in the document, the others in figures of their own
my $margin = 1.1;
my $most_lines = 12;    # of one kind for one device

sub stop { print STDERR "statistics: @_\n"; exit 2; }

sub read_file {
    my ($path) = @_;
    open my $file, '<:encoding(UTF-8)', $path or stop("cannot read $path: $!");
    local $/;
    return scalar <$file>;
}

sub write_file {
    my ($path, $text) = @_;
    open my $file, '>:encoding(UTF-8)', "$path.new" or stop("cannot write $path.new: $!");
    print $file $text;
    close $file or stop("cannot write $path.new: $!");
    rename "$path.new", $path or stop("cannot write $path: $!");
}

sub rows_of { return -e $_[0] ? map { [split /\t/] } grep { !/^#/ && /\S/ } split /\n/, read_file($_[0]) : (); }

# ---- results and reference: NAME => {driver, rows => {"matmul.nn 64,8" => {registers => ..., ...}}} ----

sub read_results {
    my ($folder) = @_;
    my %devices;
    for my $path (sort glob "$folder/*.*.json") {
        my ($name, $run) = $path =~ m{([^/.]+)\.([^/.]+)\.json$};
        my $result = eval { JSON::PP->new->decode((split /\n/, read_file($path))[-1]) };
        stop("$path: expected what `trivium bench pipelines --json` prints, found no such object")
            if ref $result ne 'HASH' || ref $result->{pipelines} ne 'ARRAY';
        my $device = $devices{$name} //= {driver => $result->{driver}, rows => {}, steps => {}};
        for my $step (grep { $_->{dispatches} } @{$result->{recorded} // []}) {
            $device->{steps}{"$run, $step->{step}"} = {map { $_ => $step->{$_} + 0 } @step_measures};
        }
        for my $pipeline (@{$result->{pipelines}}) {
            my $key = join ' ', $pipeline->{kernel}, join(',', @{$pipeline->{constants}}) || ();
            next if !$pipeline->{chosen} && $device->{rows}{$key};
            $device->{rows}{$key} = {asked => $pipeline->{chosen} ? 'yes' : 'no', map { $_ => defined $pipeline->{$_} ? $pipeline->{$_} + 0 : '-' } @measures};
        }
    }
    # What a launcher asks for with constants of its own, another run made with those of the shader.
    for my $rows (map { $_->{rows} } values %devices) {
        my %asked = map { (split / /)[0] => 1 } grep { $rows->{$_}{asked} eq 'yes' } keys %$rows;
        delete @$rows{grep { $rows->{$_}{asked} eq 'no' && $asked{(split / /)[0]} } keys %$rows};
    }
    return \%devices;
}

sub read_reference {
    my ($folder) = @_;
    my %devices;
    for my $path (sort glob "$folder/*.tsv") {
        my ($name) = $path =~ m{([^/]+)\.tsv$};
        next if $name =~ /^(reasons|known|steps)$/;
        my ($driver) = read_file($path) =~ /\A# (.*)\n/ or stop("$path: expected the driver after # in line 1");
        my %device = (driver => $driver, rows => {}, steps => {});
        for my $row (rows_of($path)) {
            stop("$path: expected a kernel and " . @columns . " figures, found \"@$row\"") if @$row != @columns + 1;
            my $key = shift @$row;
            @{$device{rows}{$key}}{@columns} = @$row;
        }
        $devices{$name} = \%device;
    }
    for my $row (rows_of("$folder/steps.tsv")) {
        stop("$folder/steps.tsv: expected a device, a step and " . @step_measures . " figures, found \"@$row\"")
            if @$row != @step_measures + 2;
        my ($name, $step, @figures) = @$row;
        @{$devices{$name}{steps}{$step}}{@step_measures} = @figures if $devices{$name};
    }
    return \%devices;
}

sub write_reference {
    my ($folder, $name, $device) = @_;
    my $text = "# $device->{driver}\n# kernel and its constants\t" . join("\t", @columns) . "\n";
    $text .= join("\t", $_, @{$device->{rows}{$_}}{@columns}) . "\n" for sort keys %{$device->{rows}};
    write_file("$folder/$name.tsv", $text);
}

sub write_steps {
    my ($folder, $devices) = @_;
    my $text = "# device\trun and step\t" . join("\t", @step_measures) . "\n";
    for my $name (sort keys %$devices) {
        my $steps = $devices->{$name}{steps};
        $text .= join("\t", $name, $_, @{$steps->{$_}}{@step_measures}) . "\n" for sort keys %$steps;
    }
    write_file("$folder/steps.tsv", $text);
}

# ---- judging ----

# The measure that stands first where both tell it.
sub measure {
    my ($old, $new, @names) = @_;
    for (@names) { return $_ if $old->{$_} ne '-' && $new->{$_} ne '-' && $old->{$_} > 0 && $new->{$_} > 0; }
    return undef;
}

# Each as [what, old, new, how much worse as a factor].
sub changes {
    my ($old, $new) = @_;
    my @found;
    my $time = measure($old, $new, qw(cycles instructions));
    push @found, [$time, $old->{$time}, $new->{$time}, $new->{$time} / $old->{$time}] if $time;
    my $room = measure($old, $new, qw(subgroups registers));
    push @found, [$room, $old->{$room}, $new->{$room}, $room eq 'subgroups' ? $old->{$room} / $new->{$room} : $new->{$room} / $old->{$room}]
        if $room;
    return @found;
}

sub percent { my ($old, $new) = @_; return sprintf '%+.0f %%', 100 * ($new / $old - 1); }

sub say_some {
    my ($name, $what, @lines) = @_;
    return if !@lines;
    printf "%s: %d %s\n", $name, scalar @lines, $what;
    print "  $_\n" for @lines > $most_lines ? @lines[0 .. $most_lines - 1] : @lines;
    print "  and ", @lines - $most_lines, " more\n" if @lines > $most_lines;
}

sub is_like { my ($text, $pattern) = @_; $pattern = quotemeta $pattern; $pattern =~ s/\\\*/.*/g; return $text =~ /^$pattern$/; }

# Spills and scratch of what stands in the results; those that known.tsv names are said, with its reason.
sub spilling {
    my ($name, $device, @known) = @_;
    my (@bad, %excused);
    for my $key (sort keys %{$device->{rows}}) {
        for my $what (qw(spills scratch_bytes)) {
            my $value = $device->{rows}{$key}{$what};
            next if $value eq '-' || $value == 0;
            my ($excuse) = grep { is_like($name, $_->[0]) && is_like($key, $_->[1]) && is_like($what, $_->[2]) } @known;
            if ($excuse) { $excused{$excuse->[3]}++ }
            else { push @bad, "$key: $what $value" }
        }
    }
    printf "%s: %d known: %s\n", $name, $excused{$_}, $_ for sort keys %excused;
    say_some($name, 'that should be 0 (tests/drivers/known.tsv names what is not ours to mend):', @bad);
    return scalar @bad;
}

# The number of worse, new and gone ones that count, those of another driver not.
sub compare {
    my ($name, $old, $new) = @_;
    my $same_driver = $old->{driver} eq $new->{driver};
    my (@worse, @better);
    for my $key (sort grep { $old->{rows}{$_} } keys %{$new->{rows}}) {
        for my $change (changes($old->{rows}{$key}, $new->{rows}{$key})) {
            my ($what, $before, $after, $factor) = @$change;
            my $line = sprintf '%s: %s %s -> %s (%s)', $key, $what, $before, $after, percent($before, $after);
            push @worse, [$factor, $line] if $factor > $margin;
            push @better, [$factor, $line] if $factor * $margin < 1;
        }
    }
    my @longer;
    for my $step (sort grep { $old->{steps}{$_} } keys %{$new->{steps}}) {
        for my $what (qw(dispatches barriers)) {
            my ($before, $after) = ($old->{steps}{$step}{$what}, $new->{steps}{$step}{$what});
            push @longer, "$step: $what $before -> $after" if $after > $margin * $before;
        }
    }
    my (@fresh, @gone);
    for my $kind (qw(rows steps)) {
        push @fresh, sort grep { !$old->{$kind}{$_} } keys %{$new->{$kind}};
        push @gone, sort grep { !$new->{$kind}{$_} } keys %{$old->{$kind}};
    }
    print "$name: the reference is of $old->{driver}, this is $new->{driver}: what is worse may be its compiler's doing, and does not fail\n"
        if !$same_driver && @worse;
    say_some($name, 'worse by more than a tenth:', map { $_->[1] } sort { $b->[0] <=> $a->[0] } @worse);
    say_some($name, 'better by more than a tenth:', map { $_->[1] } sort { $a->[0] <=> $b->[0] } @better);
    say_some($name, 'longer by more than a tenth:', @longer);
    say_some($name, 'not in the reference:', @fresh);
    say_some($name, 'in the reference and not made any more:', @gone);
    return ($same_driver ? @worse : 0) + @longer + @fresh + @gone;
}

# ---- the document ----

sub thousands { my ($n) = @_; 1 while $n =~ s/^(\d+)(\d{3})/$1,$2/; return $n; }
sub told { my ($n) = @_; return !defined $n || $n eq '-' ? '' : thousands(POSIX::ceil($n)); }

# Whether any of the kernels has this figure.
sub is_told {
    my ($keys, $reference, $name, $term) = @_;
    return scalar grep { told($reference->{$name}{rows}{$_}{$term}) ne '' } keys %$keys;
}

sub least_and_most {
    my ($device, $column) = @_;
    my @values = sort { $a <=> $b } grep { $_ ne '-' } map { $_->{$column} } values %{$device->{rows}};
    return @values ? ($values[0], $values[-1]) : ('-', '-');
}

sub document {
    my ($reference, @reasons) = @_;
    my $text = "$begin_mark\n\n| device | driver | pipelines | registers at most | spill or have scratch | subgroups at once, at least |\n|---|---|---|---|---|---|\n";
    for my $name (sort keys %$reference) {
        my $device = $reference->{$name};
        my @rows = values %{$device->{rows}};
        my $spill = grep { my $row = $_; grep { $row->{$_} ne '-' && $row->{$_} > 0 } qw(spills scratch_bytes) } @rows;
        my $says = grep { $_->{spills} ne '-' || $_->{scratch_bytes} ne '-' } @rows;
        $text .= sprintf "| %s | %s | %d | %s | %s | %s |\n", $name, $device->{driver}, scalar @rows,
            told((least_and_most($device, 'registers'))[1]), $says ? $spill : '', told((least_and_most($device, 'subgroups'))[0]);
    }
    my @shown = grep { $reference->{$_} } @shown_devices;
    if (@shown) {
        my $steps = $reference->{$shown[0]}{steps};
        if (%$steps) {
            $text .= "\nRecorded steps of `samples/bench` on $shown[0]:\n\n| step | dispatches | command buffers | barriers |\n|---|---|---|---|\n";
            $text .= "| $_ | " . join(' | ', map { thousands($_) } @{$steps->{$_}}{@step_measures}) . " |\n" for sort keys %$steps;
        }
        $text .= "\nThe kernels that those steps use, with their variants and the constants they are compiled with. An empty field: the driver does not tell, or chooses another variant.\n\n";
        my %keys;
        for my $rows (map { $reference->{$_}{rows} } @shown) { $keys{$_} = 1 for grep { $rows->{$_}{asked} eq 'yes' } keys %$rows }
        my @fields = grep { is_told(\%keys, $reference, @$_) } map { my $name = $_; map { [$name, $_] } qw(registers shared_bytes subgroups instructions cycles) } @shown;
        my $named = '';
        $text .= '| kernel ';
        for my $field (@fields) {
            my ($name, $term) = @$field;
            $term =~ tr/_/ /;
            $text .= '| ' . ($name ne $named ? "$name: " : '') . "$term ";
            $named = $name;
        }
        $text .= "|\n" . '|---' x (1 + @fields) . "|\n";
        for my $key (sort keys %keys) {
            $text .= join(' | ', "| $key", map { told($reference->{$_->[0]}{rows}{$key}{$_->[1]}) } @fields) . " |\n";
        }
    }
    $text .= "\nWritten anew:\n\n" . join('', map { "- $_->[0]: $_->[1]\n" } @reasons) if @reasons;
    return "$text\n$end_mark\n";
}

sub split_document {
    my ($path) = @_;
    my $text = read_file($path);
    my ($before, $between, $after) = $text =~ /\A(.*?)(\Q$begin_mark\E\n.*?\Q$end_mark\E\n)(.*)\z/s
        or stop("$path: expected a line \"$begin_mark\" and below it \"$end_mark\"");
    return ($before, $between, $after);
}

# ---- the command ----

my ($mode, $results, $folder, $document, $reason) = @ARGV;
stop("usage: statistics.pl check|write RESULTS REFERENCE DOCUMENT [REASON]") if !defined $document || $mode !~ /^(check|write)$/;
stop("write: a reason is missing: say why the figures changed") if $mode eq 'write' && ($reason // '') !~ /\S/;

my $new = read_results($results);
stop("$results: expected DEVICE.RUN.json, found none") if !%$new;
my $old = read_reference($folder);
my @known = rows_of("$folder/known.tsv");
my ($failures, $pipelines) = (0, 0);
for my $name (sort keys %$new) {
    $pipelines += keys %{$new->{$name}{rows}};
    $failures += spilling($name, $new->{$name}, @known);
    $failures += compare($name, $old->{$name} // {driver => $new->{$name}{driver}, rows => {}, steps => {}}, $new->{$name}) if $mode eq 'check';
}

my ($before, $between, $after) = split_document($document);
if ($mode eq 'write') {
    write_reference($folder, $_, $new->{$_}) for keys %$new;
    write_steps($folder, {%$old, %$new});
    $reason =~ s/\s+/ /g;
    my $reasons = "$folder/reasons.tsv";
    write_file($reasons, (-e $reasons ? read_file($reasons) : '') . POSIX::strftime('%Y-%m-%d', gmtime) . "\t$reason\n");
    write_file($document, $before . document(read_reference($folder), rows_of($reasons)) . $after);
} elsif ($between ne document($old, rows_of("$folder/reasons.tsv"))) {
    print "$document: the table is not the reference's\n";
    $failures++;
}
printf "%d devices, %d pipelines, %d findings\n", scalar keys %$new, $pipelines, $failures;
if ($failures && $mode eq 'check') {
    print "Where the change is meant: tests/rungs/drivers.sh --write \"why\"\n";
}
exit($failures ? 1 : 0);
