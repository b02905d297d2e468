#!/usr/bin/env perl
# What the quickstart measures of candidates (files that `trivium sample` writes) and of judgments.
#
# usage: samples/quickstart/measure.pl form CANDIDATES       the share of answers that follow the form
#        samples/quickstart/measure.pl pair ONE OTHER        candidates of two answers each, the first of ONE and of OTHER
#                                                            to the same prompt, for a judge to compare
#        samples/quickstart/measure.pl wins RANKINGS         what the second of two answers won; a tie is half
#        samples/quickstart/measure.pl agreement RANKINGS   of the pairs of answers that two annotators both put in an
#                                                            order, the share that they put in the same
#        samples/quickstart/measure.pl orders CANDIDATES SCORES RANKINGS...  of the pairs that an annotator put in an order,
#                                                            the share that the scores (of trivium score, one an answer) do
#                                                            too; how often two annotators agree; the difference, and its
#                                                            standard error over the prompts
#        samples/quickstart/measure.pl bigrams CANDIDATES    different pairs of neighbouring words over all of them
#
# Prints one line of JSON; `pair` prints one a prompt.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Sample;

binmode STDOUT, ':utf8';
my ($what, @paths) = @ARGV;
options() if !defined $what || $what =~ /^-/;

sub responses { return map { @{$_->{responses}} } json_lines(@_); }

sub form {
    my ($followed, $count) = (0, 0);
    for my $response (responses(@_)) {
        $followed++ if follows_form($response->{text}, $response->{finish});
        $count++;
    }
    fail("$_[0] holds no answer") if !$count;
    return {followed => $followed, answers => $count, share => $followed / $count};
}

sub pair {
    my ($one, $other) = @_;
    my %others = map { $_->{id} => $_ } json_lines($other);
    for my $item (json_lines($one)) {
        my $match = $others{$item->{id}} // fail("$other has no item '$item->{id}', $one has");
        my @both = ({%{$item->{responses}[0]}, id => 'r0'}, {%{$match->{responses}[0]}, id => 'r1'});
        print json_line({id => $item->{id}, prompt => $item->{prompt}, responses => \@both});
    }
}

sub wins {
    my ($won, $lost, $tied) = (0, 0, 0);
    for my $judgment (json_lines(@_)) {
        my $ranking = $judgment->{ranking} // next;
        if (@$ranking == 1) { $tied++; }
        elsif ($ranking->[0][0] eq 'r1') { $won++; }
        else { $lost++; }
    }
    my $count = $won + $lost + $tied;
    fail("$_[0] holds no judgment") if !$count;
    return {won => $won, lost => $lost, tied => $tied, comparisons => $count, share => ($won + $tied / 2) / $count};
}

sub bigrams {
    my (%seen, $count);
    $count = 0;
    for my $response (responses(@_)) {
        my @words = map { lc } $response->{text} =~ /([\p{L}\p{M}']+)/g;
        for my $i (1 .. $#words) {
            $seen{"$words[$i - 1] $words[$i]"}++;
            $count++;
        }
    }
    fail("$_[0] holds no two words") if !$count;
    return {different => scalar(keys %seen), bigrams => $count, share => keys(%seen) / $count};
}

# By item: [annotator, {answer => place, 0 the best}] of each judgment.
sub judgments {
    my %judgments;
    for my $judgment (map { json_lines($_) } @_) {
        my $place = 0;
        my %rank;
        for my $group (@{$judgment->{ranking} // next}) {
            $rank{$_} = $place for @$group;
            $place++;
        }
        push @{$judgments{$judgment->{id}}}, [$judgment->{annotator}, \%rank];
    }
    return %judgments;
}

# Of the pairs of answers that have an order in both: how many have the same, and how many there are.
sub alike {
    my ($one, $other) = @_;
    my ($alike, $count) = (0, 0);
    my @answers = sort keys %$one;
    for my $x (0 .. $#answers) {
        for my $y ($x + 1 .. $#answers) {
            my $first = $one->{$answers[$x]} <=> $one->{$answers[$y]};
            my $second = $other->{$answers[$x]} <=> $other->{$answers[$y]};
            next if $first == 0 || $second == 0;
            $count++;
            $alike++ if $first == $second;
        }
    }
    return ($alike, $count);
}

# Of all pairs of annotators of one item.
sub alike_of_item {
    my ($alike, $count) = (0, 0);
    for my $i (0 .. $#_) {
        for my $j ($i + 1 .. $#_) {
            next if $_[$i][0] eq $_[$j][0];
            my ($more, $pairs) = alike($_[$i][1], $_[$j][1]);
            $alike += $more;
            $count += $pairs;
        }
    }
    return ($alike, $count);
}

# What a reward model's accuracy compares with: it too is asked only about pairs that have an order.
sub agreement {
    my %judgments = judgments(@_);
    my ($alike, $count, $all) = (0, 0, 0);
    for my $of_item (values %judgments) {
        my ($more, $pairs) = alike_of_item(@$of_item);
        $alike += $more;
        $count += $pairs;
        $all += @$of_item;
    }
    return {judgments => $all, pairs => $count, share => $count ? $alike / $count : undef};
}

# Both shares over the same answers of the same prompts, so that what makes a pair easy is in both. Prompts are what was drawn, so
# the error is that of a difference of ratios over them. Equal scores count half, as in trivium score.
sub orders {
    my ($candidates, $scores, @rankings) = @_;
    my @scores = split /\n/, read_file($scores);
    my %judgments = judgments(@rankings);
    my (@of_prompt, @sum);
    for my $item (json_lines($candidates)) {
        my %place = map { $_->{id} => -(shift @scores // fail("$scores: expected a score for each answer of $candidates")) }
            @{$item->{responses}};
        my @counts = (0, 0, 0, 0); # as scored, of pairs; as another annotator, of pairs
        for my $judgment (@{$judgments{$item->{id}} // []}) {
            my ($more, $pairs) = scored_alike($judgment->[1], \%place);
            $counts[0] += $more;
            $counts[1] += $pairs;
        }
        @counts[2, 3] = alike_of_item(@{$judgments{$item->{id}} // []});
        $sum[$_] += $counts[$_] for 0 .. 3;
        push @of_prompt, \@counts;
    }
    fail("$scores: more scores than answers of $candidates") if @scores;
    fail("no two annotators put a pair of answers of $candidates in an order") if !$sum[3];
    my ($scored, $agreed, $squares) = ($sum[0] / $sum[1], $sum[2] / $sum[3], 0);
    for my $counts (@of_prompt) {
        $squares += (($counts->[0] - $scored * $counts->[1]) / $sum[1] - ($counts->[2] - $agreed * $counts->[3]) / $sum[3])**2;
    }
    return {prompts => scalar(@of_prompt), pairs => $sum[1], share => $scored, agreement => $agreed, difference => $scored - $agreed,
        error => sqrt $squares};
}

sub scored_alike {
    my ($judged, $scored) = @_;
    my ($alike, $pairs) = alike($judged, $scored);
    my @answers = sort keys %$judged;
    for my $x (0 .. $#answers) {
        for my $y ($x + 1 .. $#answers) {
            next if $judged->{$answers[$x]} == $judged->{$answers[$y]} || $scored->{$answers[$x]} != $scored->{$answers[$y]};
            $pairs++;
            $alike += 0.5;
        }
    }
    return ($alike, $pairs);
}

my %measures = (form => [\&form, 1], pair => [\&pair, 2], wins => [\&wins, 1], bigrams => [\&bigrams, 1],
    agreement => [\&agreement, 1], orders => [\&orders, 3]);
my $measure = $measures{$what} // fail("unknown measure '$what' (try --help)");
fail("$what wants $measure->[1] file" . ($measure->[1] > 1 ? 's' : '') . " (try --help)")
    if @paths < $measure->[1] || (@paths > $measure->[1] && $what ne 'orders'); # rankings of each annotator
my $result = $measure->[0]->(@paths);
print json_line($result) if ref $result;
